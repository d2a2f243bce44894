package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"

	backlane "example.com/backlane/gen/backlane/v1"
	"example.com/backlane/refusal"
)

type workStream = grpc.BidiStreamingClient[backlane.WorkRequest, backlane.WorkResponse]

// serve works on one stream until it ends, and answers nil where it ended as agreed.
func (w *Worker) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Ready: the leases of a broken stream wait for 5 s only, so that a server that restarts is
	// awaited with the connection's own short backoff.
	stream, err := w.service.Work(ctx, grpc.WaitForReady(true))
	if err != nil {
		return refusal.FromError(err)
	}
	period, err := w.greet(stream)
	if err != nil {
		return streamError(err)
	}
	w.isWelcome.Store(true)
	w.options.Log.Info("connected", "worker", w.options.ID, "callables", w.callableNames())
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		w.send(ctx, stream, period/3)
	}()
	err = w.receive(stream)
	cancel()
	<-sent
	w.book.endStream(wholeMessageRefusal(err))
	return err
}

// greet says hello and waits for the welcome. It answers the lease period.
func (w *Worker) greet(stream workStream) (time.Duration, error) {
	hello := &backlane.WorkHello{
		WorkerId:        w.options.ID,
		Callables:       w.callableNames(),
		TenantIds:       w.options.Tenants,
		LeaseDurationMs: uint64(w.options.Lease.Milliseconds()),
		Held:            w.book.beginStream(),
	}
	request := &backlane.WorkRequest{Message: &backlane.WorkRequest_Hello{Hello: hello}}
	if err := stream.Send(request); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return 0, err
		}
		if welcome := response.GetWelcome(); welcome != nil {
			w.book.welcome(welcome.GetHeld())
			return time.Duration(welcome.GetLeaseDurationMs()) * time.Millisecond, nil
		}
	}
}

func (w *Worker) callableNames() []string {
	names := []string{}
	for name := range w.options.Callables {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// send says what the book has to say, and heartbeats, until the stream ends. It runs on a
// goroutine of its own, which no callable can starve.
func (w *Worker) send(ctx context.Context, stream workStream, interval time.Duration) {
	heartbeats := time.NewTicker(max(interval, time.Millisecond))
	defer heartbeats.Stop()
	for {
		if isOpen := w.sendAll(stream); !isOpen {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-w.book.changed:
		case <-heartbeats.C:
			beat := &backlane.WorkRequest_Heartbeat{Heartbeat: &backlane.WorkHeartbeat{}}
			if stream.Send(&backlane.WorkRequest{Message: beat}) != nil {
				return
			}
		}
	}
}

// sendAll sends what there is to say, and half-closes where that was all. The error of a broken
// stream is the receiver's to see.
func (w *Worker) sendAll(stream workStream) (isOpen bool) {
	for {
		request, sent, isEnd := w.book.next()
		if isEnd {
			_ = stream.CloseSend()
			return false
		}
		if request == nil {
			return true
		}
		if stream.Send(request) != nil {
			return false
		}
		if sent != nil {
			sent()
		}
	}
}

// receive takes in what the server says, until the stream ends.
func (w *Worker) receive(stream workStream) error {
	for {
		response, err := stream.Recv()
		if err != nil {
			return streamError(err)
		}
		if err := w.note(response); err != nil {
			return fmt.Errorf("stream: %w", err)
		}
	}
}

func (w *Worker) note(response *backlane.WorkResponse) error {
	switch message := response.GetMessage().(type) {
	case *backlane.WorkResponse_Leases:
		w.arrive(message.Leases.GetLeases())
	case *backlane.WorkResponse_Outcomes:
		return w.book.outcomes(message.Outcomes.GetOutcomes())
	case *backlane.WorkResponse_Cancels:
		w.book.cancels(message.Cancels.GetLeases())
	case *backlane.WorkResponse_Pauses:
		w.book.pauses(message.Pauses.GetLeases())
	case *backlane.WorkResponse_Lost:
		w.book.lost(message.Lost.GetLeases())
	case *backlane.WorkResponse_Drain:
		w.book.serverEnds()
	default:
		// A newer server's message: to be ignored.
	}
	return nil
}

func (w *Worker) arrive(sent []*backlane.Lease) {
	leases := make([]*lease, len(sent))
	for i, item := range sent {
		leases[i] = w.take(item)
	}
	w.book.arrive(leases)
}

// streamError is nil for the end that was agreed.
func streamError(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return refusal.FromError(err)
}

// wholeMessageRefusal answers the error where the server refused a message as a whole.
func wholeMessageRefusal(err error) *refusal.Refusal {
	var refused *refusal.Refusal
	if errors.As(err, &refused) && refused.Reason == "INVALID_ARGUMENT" {
		return refused
	}
	return nil
}
