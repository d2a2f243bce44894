package producer

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	backlane "example.com/backlane/gen/backlane/v1"
	"example.com/backlane/refusal"
)

// streamItemsMax is how many requests go in one message. The server takes up to 10 000 of them
// and 16 MiB, and answers each by itself.
const streamItemsMax = 100

// Outcome is what became of one request of a stream.
type Outcome struct {
	ExecutionID string
	// Existing: the request_id or dedup_key led to an execution that was there before.
	Existing bool
	// Err is a *refusal.Refusal, or nil.
	Err error
}

// EnqueueStream enqueues requests, pipelined, each by itself, and answers one outcome for each,
// in order. Each needs a request_id: on a stream that breaks off, what was not answered is sent
// again, and so is what was refused for the moment.
func (p *Producer) EnqueueStream(
	ctx context.Context, requests []*backlane.EnqueueRequest,
) ([]Outcome, error) {
	outcomes := make([]Outcome, len(requests))
	open := make([]int, len(requests)) // the indexes of what was not answered for good
	for i := range open {
		open[i] = i
	}
	for delay := backoffFirst; ; delay = min(2*delay, backoffLast) {
		err := p.enqueueOnce(ctx, requests, open, outcomes)
		before := len(open)
		if open = unanswered(open, outcomes); len(open) == 0 {
			return outcomes, nil
		}
		if err == nil {
			err = outcomes[open[0]].Err
		}
		if len(open) < before {
			delay = backoffFirst
		}
		if err := later(ctx, err, delay); err != nil {
			return outcomes, err
		}
	}
}

// unanswered are those without an id that may still get one.
func unanswered(open []int, outcomes []Outcome) []int {
	left := []int{}
	for _, i := range open {
		refused := refusal.FromError(outcomes[i].Err)
		if outcomes[i].ExecutionID == "" && (refused == nil || refused.IsTransient()) {
			left = append(left, i)
		}
	}
	return left
}

// enqueueOnce sends the open requests over one stream, and notes the outcomes that came.
func (p *Producer) enqueueOnce(
	ctx context.Context, requests []*backlane.EnqueueRequest, open []int, outcomes []Outcome,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.service.EnqueueStream(ctx)
	if err != nil {
		return err
	}
	// Sent from a goroutine of its own: who only sends and does not read comes to a standstill.
	go func() {
		_ = send(stream, requests, open) // an error is the reader's to see
	}()
	for done := 0; ; {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) && done == len(open) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, answered := range response.GetOutcomes() {
			outcomes[open[done]] = outcomeOf(answered)
			done++
		}
	}
}

func send(
	stream grpc.BidiStreamingClient[backlane.EnqueueStreamRequest, backlane.EnqueueStreamResponse],
	requests []*backlane.EnqueueRequest, open []int,
) error {
	for start := 0; start < len(open); start += streamItemsMax {
		message := &backlane.EnqueueStreamRequest{}
		for _, i := range open[start:min(len(open), start+streamItemsMax)] {
			message.Items = append(message.Items, requests[i])
		}
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return stream.CloseSend()
}

func outcomeOf(answered *backlane.EnqueueOutcome) Outcome {
	if refused := answered.GetStatus(); refused != nil {
		return Outcome{Err: refusal.FromStatus(refused)}
	}
	result := answered.GetResult()
	return Outcome{ExecutionID: result.GetExecutionId(), Existing: result.GetExisting()}
}
