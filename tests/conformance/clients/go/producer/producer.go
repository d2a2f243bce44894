// Package producer enqueues executions on a Backlane server and reads their results:
// proto/README.md §4.
//
// Every request is repeated until it is answered, which its request_id makes safe: the same id
// with the same body is the same execution for 24 hours.
package producer

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	backlane "example.com/backlane/gen/backlane/v1"
	"example.com/backlane/refusal"
)

const (
	callTimeout  = 30 * time.Second
	waitTimeout  = 20 * time.Second // of one Wait; less than its call's, so that it answers
	waitIDsMax   = 1000
	backoffFirst = 50 * time.Millisecond
	backoffLast  = 2 * time.Second
)

// Producer is a client of one tenant.
type Producer struct {
	tenant     string
	connection *grpc.ClientConn
	service    backlane.ExecutionServiceClient
}

// New makes a producer for the server at target, host:port.
func New(target, tenant string, options ...grpc.DialOption) (*Producer, error) {
	options = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: backoffFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: backoffLast,
			},
			MinConnectTimeout: 5 * time.Second,
		}),
	}, options...)
	connection, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, err
	}
	service := backlane.NewExecutionServiceClient(connection)
	return &Producer{tenant: tenant, connection: connection, service: service}, nil
}

// Close closes the connection.
func (p *Producer) Close() error { return p.connection.Close() }

// EnqueueBatch enqueues all requests or none, and answers their execution ids in order. The
// requests carry no request_id of their own.
func (p *Producer) EnqueueBatch(
	ctx context.Context, requestID string, items []*backlane.EnqueueRequest,
) ([]string, error) {
	batch := &backlane.EnqueueBatchRequest{
		TenantId: p.tenant, Items: items, RequestId: requestID,
	}
	response, err := repeat(ctx, func(ctx context.Context) (*backlane.EnqueueBatchResponse, error) {
		return p.service.EnqueueBatch(ctx, batch)
	})
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(response.GetResults()))
	for i, result := range response.GetResults() {
		ids[i] = result.GetExecution().GetExecutionId()
	}
	return ids, nil
}

// Results waits until all executions ended and answers their records, in order.
func (p *Producer) Results(
	ctx context.Context, ids []string,
) ([]*backlane.BackgroundExecution, error) {
	for start := 0; start < len(ids); start += waitIDsMax {
		if err := p.wait(ctx, ids[start:min(len(ids), start+waitIDsMax)]); err != nil {
			return nil, err
		}
	}
	records := make([]*backlane.BackgroundExecution, len(ids))
	for i, id := range ids {
		record, err := p.get(ctx, id)
		if err != nil {
			return nil, err
		}
		records[i] = record
	}
	return records, nil
}

func (p *Producer) wait(ctx context.Context, ids []string) error {
	request := &backlane.WaitRequest{
		TenantId: p.tenant, ExecutionIds: ids, Timeout: durationpb.New(waitTimeout),
	}
	for {
		response, err := repeat(ctx, func(ctx context.Context) (*backlane.WaitResponse, error) {
			return p.service.Wait(ctx, request)
		})
		if err != nil || response.GetSatisfied() {
			return err
		}
	}
}

func (p *Producer) get(ctx context.Context, id string) (*backlane.BackgroundExecution, error) {
	request := &backlane.GetRequest{TenantId: p.tenant, ExecutionId: id}
	response, err := repeat(ctx, func(ctx context.Context) (*backlane.GetResponse, error) {
		return p.service.Get(ctx, request)
	})
	return response.GetExecution(), err
}

// repeat makes a call until it is answered, or refused for good, or ctx ends.
func repeat[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	for delay := backoffFirst; ; delay = min(2*delay, backoffLast) {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		response, err := call(bounded)
		cancel()
		if err == nil {
			return response, nil
		}
		if err := later(ctx, err, delay); err != nil {
			return response, err
		}
	}
}

// later waits before a repetition, as long as the server asked for or else some jittered delay.
// It answers the error where there is nothing to wait for.
func later(ctx context.Context, err error, delay time.Duration) error {
	refused := refusal.FromError(err)
	if !refused.IsTransient() {
		return refused
	}
	timer := time.NewTimer(max(refused.RetryAfter, delay/2+rand.N(delay/2)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), refused)
	}
}
