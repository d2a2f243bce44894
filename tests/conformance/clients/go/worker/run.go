package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	backlane "example.com/backlane/gen/backlane/v1"
)

// take makes a lease of what the server sent. Its context ends with the attempt. The time counts
// from now: attempt_deadline is of the server's clock, which may differ from this machine's.
func (w *Worker) take(sent *backlane.Lease) *lease {
	ctx, cancel := context.WithCancelCause(context.Background())
	if sent.AttemptRemainingMs != nil {
		var release context.CancelFunc
		ctx, release = context.WithTimeout(ctx, milliseconds(sent.GetAttemptRemainingMs()))
		context.AfterFunc(ctx, release)
	}
	ref := &backlane.LeaseRef{
		ExecutionId: sent.GetExecution().GetExecutionId(),
		LeaseToken:  sent.GetLeaseToken(),
	}
	version := w.options.Versions[sent.GetExecution().GetCallableName()]
	return &lease{Lease: sent, ref: ref, ctx: ctx, cancel: cancel, version: version}
}

// milliseconds is a length of time, at most the longest that a Duration holds.
func milliseconds(count uint64) time.Duration {
	return time.Duration(min(count, math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}

// run calls the callable of a lease and takes in what became of it.
func (w *Worker) run(l *lease) {
	output, err := w.call(l)
	cause := context.Cause(l.ctx)
	stopped := errors.Is(err, context.Canceled)
	var wait *suspension
	switch {
	case errors.As(err, &wait):
		w.book.finish(l, suspended(l, wait.waits))
	case err == nil:
		w.book.finish(l, completion(l.ref, output))
	case stopped && (cause == ErrCancelRequested || cause == ErrDraining):
		w.book.finish(l, released(l.ref))
	case errors.Is(err, context.DeadlineExceeded) && l.ctx.Err() != nil:
		w.book.finish(l, nil)
		w.book.settleLater(l, failed(l.ref, errTimedOut), timeoutGrace)
	default:
		w.book.finish(l, failed(l.ref, err))
	}
}

var errTimedOut = &Failure{
	Category: backlane.ErrorCategory_ERROR_CATEGORY_TIMEOUT,
	Message:  "the attempt's deadline passed",
}

var errNotOffered = errors.New("this worker has no such callable")

// call runs user code. A panic is an error as any other, with its stack.
func (w *Worker) call(l *lease) (output any, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v\n%s", panicked, debug.Stack())
		}
	}()
	callable := w.options.Callables[l.GetExecution().GetCallableName()]
	if callable == nil {
		return nil, errNotOffered
	}
	if err := checkVersion(l); err != nil {
		return nil, err
	}
	ctx := context.WithValue(l.ctx, trackKey{}, newTrack(w.book, l))
	return callable(ctx, l.Lease)
}
