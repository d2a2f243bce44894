// Package worker runs callables for a Backlane server, on one Work stream: proto/README.md §6
// and §7.
//
// It keeps as many executions running as it has slots, renews their leases from a goroutine of
// its own, and reports in batches. A stream that breaks is opened again and keeps its leases; a
// report is repeated until it is answered. Results are accepted once, deliveries happen at least
// once.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	backlane "example.com/backlane/gen/backlane/v1"
	"example.com/backlane/refusal"
)

const (
	backoffFirst = 50 * time.Millisecond
	backoffLast  = time.Second
	// messageBytesLimit is the transport's, for messages either way.
	messageBytesLimit = 20 << 20
	// stopTime is what callables have to end in, once the drain's time is over.
	stopTime = time.Second
	// answerTime is how long a drain waits for the answers to its last reports. Leases that a
	// stream left behind are lost after 5 s anyway.
	answerTime = 5 * time.Second
)

// Options say how a worker works.
type Options struct {
	// ID names the worker, [A-Za-z0-9._:@/-]{1,128}. No other worker at work may have it.
	ID string
	// Callables are what is offered, by name.
	Callables map[string]Callable
	// Versions are the versions of callables with steps, by name; none is the empty version. Change
	// one when the steps of running executions no longer fit its code: those are then refused.
	Versions map[string]string
	// Tenants are those that are served; none means all.
	Tenants []string
	// Concurrency is how many executions run at once, 4 by default.
	Concurrency int
	// Lease is the silence that loses the leases, 1 s to 1 h, 30 s by default.
	Lease time.Duration
	// DrainTimeout is how long a drain lets callables run on, 30 s by default.
	DrainTimeout time.Duration
	// DialOptions are added to the connection's; TLS, for instance.
	DialOptions []grpc.DialOption
	// Log is slog.Default() by default.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Concurrency == 0 {
		o.Concurrency = 4
	}
	if o.Lease == 0 {
		o.Lease = 30 * time.Second
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

// Worker leases executions of its callables and settles them.
type Worker struct {
	options    Options
	connection *grpc.ClientConn
	service    backlane.WorkerServiceClient
	book       *book
	isWelcome  atomic.Bool // on the stream of now
}

// New makes a worker for the server at target, host:port. Run starts it.
func New(target string, options Options) (*Worker, error) {
	if len(options.Callables) == 0 {
		return nil, errors.New("a worker needs a callable")
	}
	options = options.withDefaults()
	connection, err := grpc.NewClient(target, append(dialOptions(), options.DialOptions...)...)
	if err != nil {
		return nil, err
	}
	w := &Worker{
		options:    options,
		connection: connection,
		service:    backlane.NewWorkerServiceClient(connection),
	}
	w.book = newBook(options.Concurrency, w.run)
	return w, nil
}

func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(messageBytesLimit), grpc.MaxCallSendMsgSize(messageBytesLimit),
		),
		// gRPC's own backoff begins at a second and grows to two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: backoffFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: backoffLast,
			},
			MinConnectTimeout: 5 * time.Second,
		}),
		// So that a server that vanished without a word is noticed.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 10 * time.Second, Timeout: 5 * time.Second,
		}),
	}
}

// Run works until ctx ends, and then drains: it takes nothing more, lets callables end for
// DrainTimeout, gives back what still runs, and waits for the server's answers. It answers an
// error where the server refuses this worker for good, or where a drain ended without answers.
func (w *Worker) Run(ctx context.Context) error {
	defer w.connection.Close()
	work, cut := context.WithCancel(context.Background())
	defer cut()
	go w.drainAfter(ctx, work, cut)
	for delay := backoffFirst; ; {
		err := w.serve(work)
		isWelcome := w.isWelcome.Swap(false)
		if w.book.isDone() || work.Err() != nil {
			return w.giveBack()
		}
		if !isWelcome && isFinal(err) {
			return err
		}
		w.options.Log.Info("stream ended", "worker", w.options.ID, "error", err)
		delay = min(2*delay, backoffLast)
		if isWelcome {
			delay = backoffFirst
		}
		pause(work, max(jittered(delay), retryAfter(err)))
	}
}

// drainAfter drains when ctx ends. Each step that does not lead to the end of work is followed
// by a harder one.
func (w *Worker) drainAfter(ctx, work context.Context, cut func()) {
	select {
	case <-ctx.Done():
	case <-work.Done():
	}
	w.book.drain()
	if w.book.isDone() && !w.isWelcome.Load() {
		cut() // a stream that waits for a server that is away, and has nothing to say
	}
	pause(work, w.options.DrainTimeout)
	w.book.stop()
	pause(work, stopTime)
	w.book.abandon()
	pause(work, answerTime)
	cut()
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// giveBack releases what came after the stream was half-closed, or was never answered.
func (w *Worker) giveBack() error {
	held := w.book.leftovers()
	if len(held) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	if _, err := w.service.Release(ctx, &backlane.ReleaseRequest{Releases: held}); err != nil {
		return fmt.Errorf("%d leases are left to expire: %w", len(held), refusal.FromError(err))
	}
	return nil
}

// isFinal tells whether a greeting that was refused would be refused again.
func isFinal(err error) bool {
	var refused *refusal.Refusal
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code {
	case codes.InvalidArgument, codes.Unimplemented, codes.Unauthenticated, codes.PermissionDenied:
		return true
	default:
		return false
	}
}

// retryAfter is the wait that the server asked for.
func retryAfter(err error) time.Duration {
	var refused *refusal.Refusal
	if !errors.As(err, &refused) {
		return 0
	}
	return refused.RetryAfter
}

// jittered spreads a delay, so that a server's restart is not met by all workers at once.
func jittered(delay time.Duration) time.Duration {
	return delay/2 + rand.N(delay/2)
}
