package worker

import (
	backlane "example.com/backlane/gen/backlane/v1"
)

// journal is what a lease has to say. It says one thing at a time: what happened to its steps, in
// order, and then what became of it. So a report that has to be repeated is never overtaken.
type journal struct {
	// said is the report of steps that has no answer yet, nil if there is none.
	said     *report
	unsaid   []entry
	sequence uint32
	// end is what became of the lease, until it is said.
	end *report
}

// entry is one thing that happened to a step.
type entry struct {
	action *backlane.StepAction
	// answer gets the server's outcome, nil if it was recorded.
	answer chan error
}

func (e entry) close(err error) {
	select {
	case e.answer <- err:
	default: // it has its answer
	}
}

// record reports what happened to a step. The channel gets the outcome: nil if it is recorded.
func (b *book) record(l *lease, action *backlane.StepAction) <-chan error {
	one := entry{action, make(chan error, 1)}
	b.locked(func() {
		if b.held[l.GetLeaseToken()] != l || l.isSettled {
			one.close(ErrLeaseLost)
			return
		}
		l.journal.unsaid = append(l.journal.unsaid, one)
		b.say(l)
	})
	return one.answer
}

// say says what is next of a lease, if nothing of it waits for an answer.
func (b *book) say(l *lease) {
	j := &l.journal
	switch {
	case j.said != nil:
	case len(j.unsaid) > 0:
		j.sequence++
		j.said = stepReport(l, j.sequence, j.unsaid)
		j.unsaid = nil
		b.reports.add(j.said)
	case j.end != nil:
		b.reports.add(j.end)
		j.end = nil
	}
}

func stepReport(l *lease, sequence uint32, entries []entry) *report {
	actions := make([]*backlane.StepAction, len(entries))
	for i, one := range entries {
		actions[i] = one.action
	}
	return &report{ref: l.ref, entries: entries, body: &backlane.StepReport{
		ExecutionId:   l.ref.GetExecutionId(),
		LeaseToken:    l.ref.GetLeaseToken(),
		Actions:       actions,
		Sequence:      sequence,
		SchemaVersion: l.version,
	}}
}

// answered takes in the outcome of a report of steps.
func (b *book) answered(item *report, err error) {
	for _, one := range item.entries {
		one.close(err)
	}
	if l := b.held[item.ref.GetLeaseToken()]; l != nil && l.journal.said == item {
		l.journal.said = nil
		b.say(l)
	}
}

// close tells those who wait for an outcome that none will come.
func (j *journal) close() {
	if j.said != nil {
		j.unsaid = append(j.said.entries, j.unsaid...)
	}
	for _, one := range j.unsaid {
		one.close(ErrLeaseLost)
	}
	*j = journal{}
}

// mayBegin tells whether a callable may begin a step: not if a client asked for a pause.
func (b *book) mayBegin(l *lease) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !l.isPaused
}
