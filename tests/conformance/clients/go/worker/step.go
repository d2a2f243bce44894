package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	backlane "example.com/backlane/gen/backlane/v1"
)

var (
	// ErrSuspended ends a callable whose execution waits without a worker, or yields to a pause.
	// A callable returns it as it is; when the wait is over, the callable is called anew.
	ErrSuspended = errors.New("suspended")
	// ErrNoInput: the wait is over without an input, because a client resumed the execution.
	ErrNoInput = errors.New("the wait ended without an input")
	// ErrOutside: steps and waits need the context that a callable was called with, and cannot
	// be taken inside of a step.
	ErrOutside = errors.New("not in a callable, or inside of a step")
)

// digestBytes is how much of a hash is recorded.
const digestBytes = 16

// stepBytesMax is the most that the server keeps of all steps of an execution.
const stepBytesMax = 1 << 20

// suspension is an ErrSuspended that tells what is waited for.
type suspension struct{ waits []*backlane.WaitPoint }

func (s *suspension) Error() string        { return ErrSuspended.Error() }
func (s *suspension) Is(target error) bool { return target == ErrSuspended }

// StepOption says more of a step.
type StepOption func(*call) error

// Key tells steps of one name apart. It is needed where they are taken at the same time.
func Key(key string) StepOption {
	return func(one *call) error {
		one.key = key
		return nil
	}
}

// Arguments are what the step is called with, as JSON. Their hash is recorded, and a later attempt
// that comes to the step with others is refused, with the code STEP_MISMATCH.
func Arguments(arguments ...any) StepOption {
	if arguments == nil {
		arguments = []any{}
	}
	return func(one *call) (err error) {
		one.digest, err = digestOf(arguments)
		return err
	}
}

// digestOf is the hash of arguments, which is that of other languages' workers: of the JSON
// of their list and of an empty object, in which the Python worker has arguments by name.
func digestOf(arguments []any) ([]byte, error) {
	text := bytes.Buffer{}
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode([]any{arguments, struct{}{}}); err != nil {
		return nil, fmt.Errorf("arguments of a step: %w", err)
	}
	hash := sha256.Sum256(bytes.TrimSpace(text.Bytes()))
	return hash[:digestBytes], nil
}

// Step does fn once for the execution, and keeps its output, as JSON, for all later attempts. Where
// an earlier attempt has completed the step, the kept output is returned, and fn is not called. A
// step is known by its name, its key, and how many steps with both came before it in the attempt;
// a step that has failed and is done again counts once.
//
// The output is durable when Step returns. An error of fn is recorded and returned; the step is
// done again when it is taken again. Where a client asked for a pause, Step returns ErrSuspended.
// Steps of one name and key must not be taken at the same time.
func Step[Out any](
	ctx context.Context, name string, fn func(context.Context) (Out, error), options ...StepOption,
) (output Out, err error) {
	t, err := trackOf(ctx)
	if err != nil {
		return output, err
	}
	one := call{identity: identity{name: name}}
	for _, option := range append([]StepOption{Arguments()}, options...) {
		if err := option(&one); err != nil {
			return output, err
		}
	}
	before, err := t.enter(one)
	if err != nil {
		return output, err
	}
	if before != nil && hasCompleted(before) {
		return output, decode(before, &output)
	}
	id, err := t.begin(ctx, one, before)
	if err != nil {
		return output, err
	}
	// A step takes no steps itself: the order of their names would tell nothing.
	output, err = fn(context.WithValue(ctx, trackKey{}, nil))
	if err == nil {
		err = t.complete(ctx, id, output)
	}
	if err != nil && ctx.Err() == nil {
		if refused := t.fail(ctx, id, err); refused != nil {
			err = errors.Join(err, refused)
		}
	}
	return output, err
}

// WaitForInput waits for the input with that key, without a worker: it returns ErrSuspended, which
// the callable returns, and the callable is called anew when the input is there. Then WaitForInput
// returns it, as it was provided, or ErrNoInput.
func WaitForInput(ctx context.Context, name, key string) (json.RawMessage, error) {
	over, err := wait(ctx, &backlane.WaitPoint{
		Name: name, Key: key, Reason: backlane.WaitReason_WAIT_REASON_USER_INPUT,
	})
	if err != nil {
		return nil, err
	}
	if over.Output == nil {
		return nil, ErrNoInput
	}
	return json.RawMessage(over.GetOutput()), nil
}

// Sleep waits for that long, without a worker, as WaitForInput does.
func Sleep(ctx context.Context, name string, duration time.Duration) error {
	length := uint64(max(0, duration.Milliseconds()))
	_, err := wait(ctx, &backlane.WaitPoint{Name: name, WaitMs: &length})
	return err
}

// wait answers the wait as it is recorded if it is over, and an ErrSuspended otherwise.
func wait(ctx context.Context, point *backlane.WaitPoint) (*backlane.Step, error) {
	t, err := trackOf(ctx)
	if err != nil {
		return nil, err
	}
	before, err := t.enter(call{identity: identity{name: point.GetName()}, isWait: true})
	if err != nil {
		return nil, err
	}
	if before != nil && hasCompleted(before) {
		return before, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	point.StepId = newStepID()
	if before != nil && before.GetState() == backlane.StepState_STEP_STATE_RUNNING {
		point.StepId = before.GetId()
	}
	return nil, &suspension{waits: []*backlane.WaitPoint{point}}
}

func decode(stored *backlane.Step, output any) error {
	text := "null"
	if stored.Output != nil {
		text = stored.GetOutput()
	}
	if err := json.Unmarshal([]byte(text), output); err != nil {
		return fmt.Errorf("step %s: its stored output: %w", stored.GetName(), err)
	}
	return nil
}
