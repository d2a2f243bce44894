package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	backlane "example.com/backlane/gen/backlane/v1"
	"example.com/backlane/refusal"
)

// What context.Cause names where the context of a callable ended before its deadline.
var (
	// ErrCancelRequested: a client asked for the end; a result is accepted for 10 s.
	ErrCancelRequested = errors.New("cancel requested")
	// ErrLeaseLost: the lease is no longer this worker's; whatever is returned is dropped.
	ErrLeaseLost = errors.New("lease lost")
	// ErrDraining: the worker stops, and the drain's time is over.
	ErrDraining = errors.New("worker is draining")
)

// timeoutGrace is how long the server may take to say itself that an attempt is over. Its clock
// decides; only where it stays silent does the worker report a timeout.
const timeoutGrace = time.Second

// retryDelay is the wait before a report is repeated, where the server named none.
const retryDelay = time.Second

// lease is one attempt in this worker's hands.
type lease struct {
	*backlane.Lease
	ref    *backlane.LeaseRef
	ctx    context.Context
	cancel context.CancelCauseFunc
	// version is that of its callable; steps that another one recorded are not used.
	version string
	// isBegun: its callable was called.
	isBegun bool
	// isSettled: there is a report of its end.
	isSettled bool
	// isPaused: a client asked for a pause, to which its callable yields at its next step.
	isPaused bool
	journal  journal
}

// book owns what a worker holds and what it still has to say, over all streams of its life.
// Its methods may be called from any goroutine.
type book struct {
	concurrency int
	begin       func(*lease)
	// changed has an entry when there may be something new to say.
	changed chan struct{}

	mu      sync.Mutex
	held    map[string]*lease // by token: an execution may come again while an old attempt runs
	arrived []*lease          // to be acknowledged, and only then begun
	reports reports
	busy    int // leases whose callable has not returned, or is still to be called
	credit  int // leases that the server may still send

	isDraining     bool
	isDrainSaid    bool
	isServerEnding bool
}

func newBook(concurrency int, begin func(*lease)) *book {
	return &book{
		concurrency: concurrency,
		begin:       begin,
		changed:     make(chan struct{}, 1),
		held:        map[string]*lease{},
	}
}

// locked runs a change, and wakes whoever sends.
func (b *book) locked(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// beginStream forgets what a stream takes with it, and names the leases held.
func (b *book) beginStream() (held []*backlane.LeaseRef) {
	b.locked(func() {
		b.credit, b.isDrainSaid, b.isServerEnding = 0, false, false
		b.arrived = nil
		for _, l := range b.held {
			held = append(held, l.ref)
			if !l.isBegun && !l.isSettled {
				b.arrived = append(b.arrived, l)
			}
		}
	})
	return held
}

// endStream has everything repeated that was not answered. refused is set where the server
// refused a message of the stream as a whole.
func (b *book) endStream(refused *refusal.Refusal) {
	b.locked(func() {
		for _, item := range b.reports.repeat(refused) {
			b.answered(item, refused)
		}
	})
}

// welcome forgets what the server no longer counts as held. A report that it may have is
// repeated all the same: the answer says what became of it.
func (b *book) welcome(held []*backlane.LeaseRef) {
	kept := map[string]bool{}
	for _, ref := range held {
		kept[ref.GetLeaseToken()] = true
	}
	b.locked(func() {
		said := map[string]bool{}
		for _, item := range b.reports.unsaid {
			// Of steps nobody needs to know whether a lost lease recorded them.
			said[item.ref.GetLeaseToken()] = item.said && !item.isOfSteps()
		}
		for token := range b.held {
			if !kept[token] && !said[token] {
				b.forget(token, ErrLeaseLost)
			}
		}
	})
}

// arrive takes leases in. They are begun once they are acknowledged.
func (b *book) arrive(leases []*lease) {
	b.locked(func() {
		for _, l := range leases {
			b.credit--
			b.busy++
			b.held[l.GetLeaseToken()] = l
			b.arrived = append(b.arrived, l)
			l.isPaused = l.GetPauseRequested()
			if l.GetExecution().GetCancelRequested() {
				l.cancel(ErrCancelRequested)
			}
		}
	})
}

// acknowledged begins leases, or gives back those that are not wanted any more.
func (b *book) acknowledged(leases []*lease) {
	b.locked(func() {
		for _, l := range leases {
			switch {
			case b.held[l.GetLeaseToken()] != l || l.isSettled:
				continue // lost, or given back meanwhile
			case b.isDraining || l.ctx.Err() != nil:
				b.giveBack(l, released(l.ref))
			case l.isPaused:
				b.giveBack(l, suspended(l, nil))
			default:
				l.isBegun = true
				go b.begin(l)
			}
		}
	})
}

// finish takes in what became of a callable; nil where the server is to have the word.
func (b *book) finish(l *lease, item *report) {
	b.locked(func() {
		b.busy--
		if item != nil {
			b.settle(l, item)
		}
	})
}

// settleLater reports what became of a lease, unless the server speaks first.
func (b *book) settleLater(l *lease, item *report, delay time.Duration) {
	time.AfterFunc(delay, func() { b.locked(func() { b.settle(l, item) }) })
}

// outcomes takes in the answer to the oldest message of reports.
func (b *book) outcomes(outcomes []*backlane.LeaseOutcome) (err error) {
	b.locked(func() {
		var batch []*report
		batch, err = b.reports.answer()
		if err == nil && len(batch) != len(outcomes) {
			err = fmt.Errorf("%d outcomes for %d reports", len(outcomes), len(batch))
		}
		for i := range min(len(batch), len(outcomes)) {
			b.note(batch[i], outcomes[i])
		}
	})
	return err
}

// note takes in what the server said to one report.
func (b *book) note(item *report, outcome *backlane.LeaseOutcome) {
	token := item.ref.GetLeaseToken()
	if outcome.GetStatus() == nil {
		if item.isOfSteps() {
			b.answered(item, nil)
		} else {
			b.forget(token, nil)
		}
		return
	}
	refused := refusal.FromStatus(outcome.GetStatus())
	if refused.IsTransient() {
		delay := max(refused.RetryAfter, retryDelay)
		time.AfterFunc(delay, func() { b.locked(func() { b.again(item) }) })
		return
	}
	if item.isOfSteps() && !isLoss(refused) {
		b.answered(item, refused)
		return
	}
	// Not silence: heartbeats would keep the lease.
	if next := item.afterRefusal(refused); next != nil {
		b.reports.add(next)
		return
	}
	b.forget(token, ErrLeaseLost)
}

// cancels stops callables on a client's behalf.
func (b *book) cancels(refs []*backlane.LeaseRef) {
	b.locked(func() {
		for _, ref := range refs {
			if l := b.held[ref.GetLeaseToken()]; l != nil {
				l.cancel(ErrCancelRequested)
			}
		}
	})
}

// pauses lets callables yield to a client's pause at their next step.
func (b *book) pauses(refs []*backlane.LeaseRef) {
	b.locked(func() {
		for _, ref := range refs {
			if l := b.held[ref.GetLeaseToken()]; l != nil {
				l.isPaused = true
			}
		}
	})
}

// lost forgets leases that are no longer this worker's. Nothing is reported of them.
func (b *book) lost(refs []*backlane.LeaseRef) {
	b.locked(func() {
		for _, ref := range refs {
			b.forget(ref.GetLeaseToken(), ErrLeaseLost)
		}
	})
}

// serverEnds gives no further credit on this stream, which ends once nothing is held.
func (b *book) serverEnds() {
	b.locked(func() { b.isServerEnding = true })
}

// drain takes nothing more: no credit, and what has not begun is given back.
func (b *book) drain() {
	b.locked(func() { b.isDraining = true })
}

// stop asks the callables that still run to end.
func (b *book) stop() {
	b.locked(func() {
		for _, l := range b.held {
			l.cancel(ErrDraining)
		}
	})
}

// abandon gives back all leases that nothing was reported of.
func (b *book) abandon() {
	b.locked(func() {
		for _, l := range b.held {
			b.settle(l, released(l.ref))
		}
	})
}

// leftovers names the leases held.
func (b *book) leftovers() (held []*backlane.LeaseRef) {
	b.locked(func() {
		for _, l := range b.held {
			held = append(held, l.ref)
		}
	})
	return held
}

// isDone tells whether the worker drains and nothing is left to do.
func (b *book) isDone() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.isDraining && b.isIdle()
}

// next is the next message to send, nil where there is none; sent is to be called once it is
// sent. isEnd: all is said and answered, and the stream is to be half-closed.
func (b *book) next() (request *backlane.WorkRequest, sent func(), isEnd bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.isDraining && !b.isDrainSaid:
		b.isDrainSaid = true
		drain := &backlane.WorkRequest_Drain{Drain: &backlane.WorkDrain{}}
		return &backlane.WorkRequest{Message: drain}, nil, false
	case len(b.arrived) > 0:
		request, sent = b.acknowledgement()
		return request, sent, false
	}
	if request = b.reports.take(); request != nil {
		return request, nil, false
	}
	if b.isDraining || b.isServerEnding {
		return nil, nil, b.isIdle()
	}
	return b.owedCredit(), nil, false
}

func (b *book) acknowledgement() (*backlane.WorkRequest, func()) {
	count := min(len(b.arrived), batchItemsMax)
	leases := b.arrived[:count:count]
	b.arrived = b.arrived[count:]
	refs := make([]*backlane.LeaseRef, count)
	for i, l := range leases {
		refs[i] = l.ref
	}
	acknowledge := &backlane.WorkAcknowledge{Leases: refs}
	request := &backlane.WorkRequest{Message: &backlane.WorkRequest_Acknowledge{
		Acknowledge: acknowledge,
	}}
	return request, func() { b.acknowledged(leases) }
}

// owedCredit asks for a lease for each free slot: only what will be run at once.
func (b *book) owedCredit() *backlane.WorkRequest {
	owed := b.concurrency - b.busy - b.credit
	if owed <= 0 {
		return nil
	}
	b.credit += owed
	credit := &backlane.WorkCredit{Executions: uint32(owed)}
	return &backlane.WorkRequest{Message: &backlane.WorkRequest_Credit{Credit: credit}}
}

func (b *book) isIdle() bool { return len(b.held) == 0 && b.reports.isEmpty() }

// giveBack settles a lease that was not begun.
func (b *book) giveBack(l *lease, item *report) {
	b.busy--
	b.settle(l, item)
}

// settle takes a report in, unless the lease was lost or has one.
func (b *book) settle(l *lease, item *report) {
	if b.held[l.GetLeaseToken()] == l && !l.isSettled {
		l.isSettled = true
		l.journal.end = item
		b.say(l)
	}
}

// again repeats a report, unless its lease was lost meanwhile.
func (b *book) again(item *report) {
	if b.held[item.ref.GetLeaseToken()] != nil {
		b.reports.add(item)
	}
}

// forget drops a lease, and stops its callable where it still runs.
func (b *book) forget(token string, cause error) {
	l := b.held[token]
	if l == nil {
		return
	}
	if !l.isBegun && !l.isSettled {
		b.busy--
		b.arrived = slices.DeleteFunc(b.arrived, func(other *lease) bool { return other == l })
	}
	delete(b.held, token)
	b.reports.drop(token)
	l.journal.close()
	l.cancel(cause)
}
