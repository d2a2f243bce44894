package worker

import (
	"bytes"
	"fmt"

	backlane "example.com/backlane/gen/backlane/v1"
)

// identity is what steps have in common that only their number tells apart.
type identity struct{ name, key string }

// call is a step or a wait that a callable comes to.
type call struct {
	identity
	isWait bool
	// digest is the hash of its arguments; a wait has none.
	digest []byte
}

// places are the steps that earlier attempts recorded, each in its place: of a step that was done
// again, the newest run.
type places map[identity][]*backlane.Step

func inPlaces(steps []*backlane.Step) places {
	found := places{}
	spots := map[string]spot{}
	for _, step := range steps {
		if step.ParentStepId != nil {
			continue // a worker that takes steps inside of steps counts those apart
		}
		of := identity{step.GetName(), step.GetKey()}
		number := found.earlierRun(step, of, spots)
		if number < 0 {
			number = len(found[of])
			found[of] = append(found[of], step)
		} else {
			found[of][number] = step
		}
		spots[step.GetId()] = spot{of, number}
	}
	return found
}

// spot is where a recorded step stands.
type spot struct {
	of     identity
	number int
}

// earlierRun is the number of the step that a step is another run of, -1 if it is the first one.
func (p places) earlierRun(step *backlane.Step, of identity, spots map[string]spot) int {
	if isWait(step) {
		// A wait names none. It fails only with its attempt, and is always done again.
		for number, one := range p[of] {
			if hasFailed(one) {
				return number
			}
		}
		return -1
	}
	if step.GetSource().GetSourceType() != backlane.StepSourceType_STEP_SOURCE_TYPE_RETRY {
		return -1
	}
	if earlier, isKnown := spots[step.GetSource().GetTriggeredBy()]; isKnown && earlier.of == of {
		return earlier.number
	}
	return -1
}

// compare refuses a step in whose place another one is recorded.
func compare(recorded *backlane.Step, one call) error {
	switch {
	case recorded == nil || hasFailed(recorded):
		return nil
	case isWait(recorded) && !one.isWait:
		return mismatch(one.name, "was a wait in an earlier attempt and is no wait now")
	case !isWait(recorded) && one.isWait:
		return mismatch(one.name, "was no wait in an earlier attempt and is a wait now")
	case len(recorded.GetArgumentsHash()) > 0 &&
		!bytes.Equal(recorded.GetArgumentsHash(), one.digest):
		return mismatch(one.name, "had other arguments in an earlier attempt: a callable has to "+
			"take the same steps in each attempt, or another version")
	default:
		return nil
	}
}

func isWait(step *backlane.Step) bool {
	return step.GetStepType() == backlane.StepType_STEP_TYPE_WAIT
}

func hasFailed(step *backlane.Step) bool {
	return step.GetState() == backlane.StepState_STEP_STATE_FAILED
}

func hasCompleted(step *backlane.Step) bool {
	return step.GetState() == backlane.StepState_STEP_STATE_COMPLETED
}

func mismatch(name, what string) error {
	return notAsRecorded("STEP_MISMATCH", fmt.Sprintf("step %s %s", name, what))
}

// notAsRecorded says that the code and what is recorded do not fit. No attempt could change that,
// and the server retries nothing of this category.
func notAsRecorded(code, message string) error {
	return &Failure{
		Category: backlane.ErrorCategory_ERROR_CATEGORY_VALIDATION_ERROR,
		Code:     code,
		Message:  message,
	}
}

// checkVersion refuses a lease whose steps another version of its callable recorded.
func checkVersion(l *lease) error {
	theirs := l.GetSchemaVersion()
	if len(l.GetSteps()) == 0 || theirs == l.version {
		return nil
	}
	return notAsRecorded("STEP_VERSION", fmt.Sprintf(
		"its steps were recorded by version %q of the callable, and this worker has version %q",
		theirs, l.version,
	))
}
