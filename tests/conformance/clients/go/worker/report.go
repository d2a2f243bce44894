package worker

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	backlane "example.com/backlane/gen/backlane/v1"
	"example.com/backlane/refusal"
)

const (
	// batchItemsMax is the most items the server takes in one message.
	batchItemsMax = 1000
	// batchBytes closes a message of reports; the transport takes five times as much.
	batchBytes = 4 << 20
)

// report is what became of a lease, or of its steps. It is kept until the server answered it.
type report struct {
	ref *backlane.LeaseRef
	// body is a *CompleteResult, a *Failure, a *Suspension, or a *LeaseRef, which gives the lease
	// back; or a *StepReport.
	body proto.Message
	// entries are what a report of steps tells.
	entries []entry
	// said: it was sent once, so that the server may have it.
	said bool
	// alone: the message it was in was refused as a whole, so that it goes by itself.
	alone bool
}

// completion reports an output, or a failure where the output cannot be sent.
func completion(ref *backlane.LeaseRef, output any) *report {
	value, err := toValue(output)
	if err != nil {
		return failed(ref, fmt.Errorf("output: %w", err))
	}
	if size := proto.Size(value); size > batchBytes {
		return failed(ref, fmt.Errorf("output: %d bytes are too large", size))
	}
	return &report{ref: ref, body: &backlane.CompleteResult{
		ExecutionId: ref.GetExecutionId(),
		LeaseToken:  ref.GetLeaseToken(),
		Output:      value,
	}}
}

func failed(ref *backlane.LeaseRef, err error) *report {
	return &report{ref: ref, body: failureOf(ref, err)}
}

func released(ref *backlane.LeaseRef) *report {
	return &report{ref: ref, body: ref}
}

// suspended gives a lease back until one of the waits is over; without waits, to a pause.
func suspended(l *lease, waits []*backlane.WaitPoint) *report {
	return &report{ref: l.ref, body: &backlane.Suspension{
		ExecutionId:   l.ref.GetExecutionId(),
		LeaseToken:    l.ref.GetLeaseToken(),
		Waits:         waits,
		SchemaVersion: l.version,
	}}
}

// isOfSteps tells whether the lease goes on after the report.
func (r *report) isOfSteps() bool {
	_, isOfSteps := r.body.(*backlane.StepReport)
	return isOfSteps
}

// isLoss tells whether a refusal says that the lease is no longer ours.
func isLoss(refused *refusal.Refusal) bool {
	switch refused.Code {
	case codes.FailedPrecondition:
		return refused.Reason != "TRANSITION_NOT_ALLOWED"
	default:
		return refused.Code == codes.NotFound
	}
}

// afterRefusal says what follows a report that the server refused for good: something that it
// will take, or nil where the lease is no longer ours.
func (r *report) afterRefusal(refused *refusal.Refusal) *report {
	if isLoss(refused) {
		return nil
	}
	switch body := r.body.(type) {
	case *backlane.CompleteResult:
		return failed(r.ref, fmt.Errorf("output refused: %w", refused))
	case *backlane.Suspension:
		if len(body.GetWaits()) == 0 {
			return released(r.ref) // the pause is over
		}
		return failed(r.ref, fmt.Errorf("wait refused: %w", refused))
	case *backlane.Failure:
		return released(r.ref)
	default:
		return nil
	}
}

// message makes one message of reports that are all of one kind.
func message(batch []*report) *backlane.WorkRequest {
	switch batch[0].body.(type) {
	case *backlane.CompleteResult:
		results := bodies[*backlane.CompleteResult](batch)
		return &backlane.WorkRequest{Message: &backlane.WorkRequest_Complete{
			Complete: &backlane.CompleteRequest{Results: results},
		}}
	case *backlane.Failure:
		failures := bodies[*backlane.Failure](batch)
		return &backlane.WorkRequest{Message: &backlane.WorkRequest_Fail{
			Fail: &backlane.FailRequest{Failures: failures},
		}}
	case *backlane.Suspension:
		suspensions := bodies[*backlane.Suspension](batch)
		return &backlane.WorkRequest{Message: &backlane.WorkRequest_Suspend{
			Suspend: &backlane.SuspendRequest{Suspensions: suspensions},
		}}
	case *backlane.StepReport:
		reports := bodies[*backlane.StepReport](batch)
		return &backlane.WorkRequest{Message: &backlane.WorkRequest_Steps{
			Steps: &backlane.ReportStepsRequest{Reports: reports},
		}}
	default:
		releases := bodies[*backlane.LeaseRef](batch)
		return &backlane.WorkRequest{Message: &backlane.WorkRequest_Release{
			Release: &backlane.ReleaseRequest{Releases: releases},
		}}
	}
}

func bodies[T proto.Message](batch []*report) []T {
	found := make([]T, len(batch))
	for i, item := range batch {
		found[i] = item.body.(T)
	}
	return found
}

// reports is what a worker has to say: what was not said yet, and what was not answered.
type reports struct {
	unsaid     []*report
	unanswered [][]*report
}

func (q *reports) isEmpty() bool { return len(q.unsaid)+len(q.unanswered) == 0 }

func (q *reports) add(item *report) { q.unsaid = append(q.unsaid, item) }

// take gathers reports of one kind, the oldest first, into a message; nil where none is due.
func (q *reports) take() *backlane.WorkRequest {
	if len(q.unsaid) == 0 {
		return nil
	}
	count := q.batchLength()
	batch := q.unsaid[:count:count]
	q.unsaid = q.unsaid[count:]
	for _, item := range batch {
		item.said = true
	}
	q.unanswered = append(q.unanswered, batch)
	return message(batch)
}

func (q *reports) batchLength() int {
	first := q.unsaid[0]
	kind := first.body.ProtoReflect().Descriptor()
	size := 0
	for i, item := range q.unsaid {
		size += proto.Size(item.body)
		isFull := i == batchItemsMax || size > batchBytes
		isOther := item.body.ProtoReflect().Descriptor() != kind || item.alone || first.alone
		if i > 0 && (isFull || isOther) {
			return i
		}
	}
	return len(q.unsaid)
}

// answer takes the oldest message that was not answered: its answer came.
func (q *reports) answer() ([]*report, error) {
	if len(q.unanswered) == 0 {
		return nil, errors.New("outcomes without a report")
	}
	batch := q.unanswered[0]
	q.unanswered = q.unanswered[1:]
	return batch, nil
}

// repeat puts what was not answered in front again, for the next stream. Where the server refused
// a message as a whole, it was the oldest one: its reports go one by one, and one that was alone
// already becomes a failure. One of steps is answered instead, with that refusal.
func (q *reports) repeat(refused *refusal.Refusal) (answered []*report) {
	if refused != nil && len(q.unanswered) > 0 {
		q.unanswered[0], answered = apart(q.unanswered[0], refused)
	}
	again := slices.Concat(q.unanswered...)
	q.unsaid, q.unanswered = append(again, q.unsaid...), nil
	return answered
}

func apart(batch []*report, refused *refusal.Refusal) (again, answered []*report) {
	if len(batch) > 1 {
		for _, item := range batch {
			item.alone = true
		}
		return batch, nil
	}
	if batch[0].isOfSteps() {
		return nil, batch
	}
	if next := batch[0].afterRefusal(refused); next != nil {
		return []*report{next}, nil
	}
	return nil, nil
}

// drop forgets reports that were not sent.
func (q *reports) drop(token string) {
	q.unsaid = slices.DeleteFunc(q.unsaid, func(item *report) bool {
		return item.ref.GetLeaseToken() == token
	})
}
