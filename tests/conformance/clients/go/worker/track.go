package worker

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"sync"
	"time"

	backlane "example.com/backlane/gen/backlane/v1"
)

// trackKey is the key of a callable's track in its context.
type trackKey struct{}

// track is where a callable is in the steps of its execution. Its methods may be called from any
// goroutine.
type track struct {
	book  *book
	lease *lease

	mu     sync.Mutex
	places places
	// taken is how many steps of an identity this attempt has come to.
	taken map[identity]int
}

func newTrack(b *book, l *lease) *track {
	return &track{
		book:   b,
		lease:  l,
		places: inPlaces(l.GetSteps()),
		taken:  map[identity]int{},
	}
}

func trackOf(ctx context.Context) (*track, error) {
	t, _ := ctx.Value(trackKey{}).(*track)
	if t == nil {
		return nil, ErrOutside
	}
	return t, nil
}

// enter comes to the next step of that name and key. It answers what an earlier attempt recorded in
// its place, nil if that is nothing, and an error if another step is recorded there.
func (t *track) enter(one call) (recorded *backlane.Step, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	number := t.taken[one.identity]
	if steps := t.places[one.identity]; number < len(steps) {
		recorded = steps[number]
	}
	if err := compare(recorded, one); err != nil {
		return nil, err
	}
	t.taken[one.identity] = number + 1
	return recorded, nil
}

// begin reports that a step begins, in whose place before was recorded, or nil. Nobody waits for
// the outcome: that of its end will do.
func (t *track) begin(ctx context.Context, one call, before *backlane.Step) (string, error) {
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if !t.book.mayBegin(t.lease) {
		return "", &suspension{}
	}
	step := &backlane.NewStep{
		StepId: newStepID(), Name: one.name, Key: one.key, ArgumentsHash: one.digest,
	}
	if before != nil {
		id := before.GetId()
		step.Source = &backlane.StepSource{
			SourceType: backlane.StepSourceType_STEP_SOURCE_TYPE_RETRY, TriggeredBy: &id,
		}
	}
	t.book.record(t.lease, &backlane.StepAction{
		Action: &backlane.StepAction_Started{Started: step},
	})
	return step.GetStepId(), nil
}

// complete reports the output of a step, and waits until it is recorded.
func (t *track) complete(ctx context.Context, id string, output any) error {
	text, err := json.Marshal(output)
	if err != nil {
		return fmt.Errorf("output of a step: %w", err)
	}
	if len(text) > stepBytesMax {
		return fmt.Errorf("output of a step: %d bytes are too large", len(text))
	}
	told := string(text)
	return t.record(ctx, &backlane.StepAction{Action: &backlane.StepAction_Completed{
		Completed: &backlane.StepCompleted{StepId: id, Output: &told},
	}})
}

// fail reports the error of a step, and waits until it is recorded.
func (t *track) fail(ctx context.Context, id string, err error) error {
	told := failureOf(t.lease.ref, err).GetError()
	return t.record(ctx, &backlane.StepAction{Action: &backlane.StepAction_Failed{
		Failed: &backlane.StepFailed{StepId: id, Error: told},
	}})
}

// record reports, and waits for the outcome. If the attempt is to stop it does not wait, although
// what happened may still be recorded.
func (t *track) record(ctx context.Context, action *backlane.StepAction) error {
	select {
	case err := <-t.book.record(t.lease, action):
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

const (
	base62      = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	idDigits    = 27
	idBytes     = 20
	idEpochSecs = 1_400_000_000
)

// newStepID makes a KSUID: the time and 16 random bytes.
func newStepID() string {
	raw := make([]byte, idBytes)
	binary.BigEndian.PutUint32(raw, uint32(time.Now().Unix()-idEpochSecs))
	_, _ = rand.Read(raw[4:]) // it never fails
	number, base, digit := new(big.Int).SetBytes(raw), big.NewInt(int64(len(base62))), new(big.Int)
	text := make([]byte, idDigits)
	for i := range text {
		number.DivMod(number, base, digit)
		text[idDigits-1-i] = base62[digit.Int64()]
	}
	return "step_" + string(text)
}
