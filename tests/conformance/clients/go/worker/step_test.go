package worker

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	backlane "example.com/backlane/gen/backlane/v1"
)

var done = &backlane.LeaseOutcome{
	Outcome: &backlane.LeaseOutcome_Result{Result: &backlane.LeaseResult{}},
}

func refusedWith(code codes.Code) *backlane.LeaseOutcome {
	return &backlane.LeaseOutcome{Outcome: &backlane.LeaseOutcome_Status{
		Status: &spb.Status{Code: int32(code), Message: "refused"},
	}}
}

// begun is a book with one lease that is begun, and carries these steps.
func begun(steps ...*backlane.Step) (*book, *lease) {
	b := newBook(1, func(*lease) {})
	b.next() // the credit
	l := leaseOf("a")
	l.Steps = steps
	b.arrive([]*lease{l})
	sendAcknowledgement(b)
	return b, l
}

func started(name string) *backlane.StepAction {
	return &backlane.StepAction{Action: &backlane.StepAction_Started{
		Started: &backlane.NewStep{Name: name},
	}}
}

func answer(t *testing.T, b *book, outcome *backlane.LeaseOutcome) {
	t.Helper()
	if err := b.outcomes([]*backlane.LeaseOutcome{outcome}); err != nil {
		t.Fatal(err)
	}
}

// stepsSaid is the next message, which has to be one report of steps: its number and its names.
func stepsSaid(t *testing.T, b *book) (sequence uint32, names []string) {
	t.Helper()
	request := nextMessage(t, b)
	reports := request.GetSteps().GetReports()
	if len(reports) != 1 {
		t.Fatalf("not one report of steps: %v", request)
	}
	for _, action := range reports[0].GetActions() {
		names = append(names, action.GetStarted().GetName())
	}
	return reports[0].GetSequence(), names
}

func expectSteps(t *testing.T, b *book, sequence uint32, names ...string) {
	t.Helper()
	number, told := stepsSaid(t, b)
	if number != sequence {
		t.Fatalf("number %d, not %d", number, sequence)
	}
	expect(t, "steps", told, names...)
}

func expectSilence(t *testing.T, b *book) {
	t.Helper()
	if request, _, _ := b.next(); request != nil {
		t.Fatalf("said %v", request)
	}
}

func TestALeaseSaysOneThingAtATimeAndItsEndLast(t *testing.T) {
	b, l := begun()
	first := b.record(l, started("x"))
	expectSteps(t, b, 1, "x")
	b.record(l, started("y"))
	b.record(l, started("z"))
	b.finish(l, completion(l.ref, 1))
	expectCredit(t, b)
	expectSilence(t, b)
	answer(t, b, done)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	expectSteps(t, b, 2, "y", "z")
	answer(t, b, done)
	expect(t, "completed", tokensOf(nextMessage(t, b)), "a")
}

func expectCredit(t *testing.T, b *book) {
	t.Helper()
	if nextMessage(t, b).GetCredit() == nil {
		t.Fatal("no credit")
	}
}

func TestAReportOfStepsIsRepeatedWithItsNumber(t *testing.T) {
	b, l := begun()
	b.record(l, started("x"))
	expectSteps(t, b, 1, "x")
	b.record(l, started("y"))
	b.endStream(nil)
	b.beginStream()
	b.welcome([]*backlane.LeaseRef{l.ref})
	expectSteps(t, b, 1, "x")
	answer(t, b, done)
	expectSteps(t, b, 2, "y")
}

func TestARefusedReportOfStepsIsAnsweredAndTheLeaseGoesOn(t *testing.T) {
	b, l := begun()
	refused := b.record(l, started("x"))
	nextMessage(t, b)
	answer(t, b, refusedWith(codes.OutOfRange))
	if err := <-refused; err == nil {
		t.Fatal("not told")
	}
	b.record(l, started("y"))
	expectSteps(t, b, 2, "y")
}

func TestAReportOfStepsThatEndsAStreamIsAnswered(t *testing.T) {
	b, l := begun()
	refused := b.record(l, started("x"))
	nextMessage(t, b)
	b.record(l, started("y"))
	b.endStream(invalid)
	if err := <-refused; err != invalid {
		t.Fatalf("told %v", err)
	}
	b.beginStream()
	expectSteps(t, b, 2, "y")
}

func TestALostLeaseAnswersItsStepsAndSaysNothing(t *testing.T) {
	lose := map[string]func(*book, *lease){
		"lost": func(b *book, l *lease) { b.lost([]*backlane.LeaseRef{l.ref}) },
		"not welcome": func(b *book, _ *lease) {
			b.endStream(nil)
			b.beginStream()
			b.welcome(nil)
		},
	}
	for how, losing := range lose {
		b, l := begun()
		said := b.record(l, started("x"))
		nextMessage(t, b)
		unsaid := b.record(l, started("y"))
		losing(b, l)
		late := b.record(l, started("z"))
		for _, answer := range []<-chan error{said, unsaid, late} {
			if err := <-answer; !errors.Is(err, ErrLeaseLost) {
				t.Fatalf("%s: told %v", how, err)
			}
		}
		b.finish(l, nil)
		expectCredit(t, b)
		expectSilence(t, b)
	}
}

func TestARefusedSuspensionFails(t *testing.T) {
	b, l := begun()
	b.finish(l, suspended(l, []*backlane.WaitPoint{{Name: "w"}}))
	if nextMessage(t, b).GetSuspend() == nil {
		t.Fatal("not suspended")
	}
	answer(t, b, refusedWith(codes.InvalidArgument))
	if nextMessage(t, b).GetFail() == nil {
		t.Fatal("not failed")
	}
}

func TestAPauseThatIsOverReleases(t *testing.T) {
	b, l := begun()
	b.finish(l, suspended(l, nil))
	nextMessage(t, b)
	answer(t, b, refusedWith(codes.InvalidArgument))
	if nextMessage(t, b).GetRelease() == nil {
		t.Fatal("not released")
	}
}

func TestALeaseThatComesPausedIsYieldedAtOnce(t *testing.T) {
	b := newBook(1, func(*lease) { t.Error("begun") })
	l := leaseOf("a")
	l.PauseRequested = true
	b.arrive([]*lease{l})
	sendAcknowledgement(b)
	if nextMessage(t, b).GetSuspend() == nil {
		t.Fatal("not suspended")
	}
}

// callable is the context of a callable whose lease carries these steps.
func callable(steps ...*backlane.Step) (context.Context, *book, *lease) {
	b, l := begun(steps...)
	return context.WithValue(l.ctx, trackKey{}, newTrack(b, l)), b, l
}

func recorded(name, output string) *backlane.Step {
	return &backlane.Step{
		Name: name, State: backlane.StepState_STEP_STATE_COMPLETED, Output: &output,
	}
}

func TestACompletedStepIsFoundByItsNameAndItsOccurrence(t *testing.T) {
	ctx, b, _ := callable(recorded("x", "1"), recorded("y", "2"), recorded("x", "3"))
	never := func(context.Context) (int, error) { return 0, errors.New("called") }
	found := []int{}
	for _, name := range []string{"x", "x", "y"} {
		output, err := Step(ctx, name, never)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, output)
	}
	if !slices.Equal(found, []int{1, 3, 2}) {
		t.Fatalf("found %v", found)
	}
	expectSilence(t, b)
}

func over(name string) *backlane.Step {
	return &backlane.Step{
		Name:     name,
		State:    backlane.StepState_STEP_STATE_COMPLETED,
		StepType: backlane.StepType_STEP_TYPE_WAIT,
	}
}

func TestAFailedStepIsDoneAgainAsANewOne(t *testing.T) {
	before := &backlane.Step{
		Id: "step_before", Name: "x", State: backlane.StepState_STEP_STATE_FAILED,
	}
	ctx, b, l := callable(before)
	<-b.changed // the acknowledgement's
	go Step(ctx, "x", func(context.Context) (int, error) { return 1, nil })
	<-b.changed
	step := nextMessage(t, b).GetSteps().GetReports()[0].GetActions()[0].GetStarted()
	if step.GetStepId() == "step_before" || step.GetSource().GetTriggeredBy() != "step_before" {
		t.Fatalf("begun as %v", step)
	}
	b.lost([]*backlane.LeaseRef{l.ref})
}

func named(id string, step *backlane.Step) *backlane.Step {
	step.Id = id
	return step
}

func failedStep(name string) *backlane.Step {
	return &backlane.Step{Name: name, State: backlane.StepState_STEP_STATE_FAILED}
}

// again is a step that was done again because that one had failed.
func again(before string, step *backlane.Step) *backlane.Step {
	step.Source = &backlane.StepSource{
		SourceType:  backlane.StepSourceType_STEP_SOURCE_TYPE_RETRY,
		TriggeredBy: &before,
	}
	return step
}

// inPlace is what is recorded in the places of the steps of a name: their ids, in order.
func inPlace(found places, name string) (ids []string) {
	for _, step := range found[identity{name: name}] {
		ids = append(ids, step.GetId())
	}
	return ids
}

func TestAFailedStepAndItsRetryHaveOnePlace(t *testing.T) {
	found := inPlaces([]*backlane.Step{
		named("x0", failedStep("x")),
		named("x1", recorded("x", "1")),
		named("y0", again("x0", recorded("y", "2"))),
		named("x0 again", again("x0", failedStep("x"))),
		named("x0 at last", again("x0 again", recorded("x", "3"))),
	})
	expect(t, "x", inPlace(found, "x"), "x0 at last", "x1")
	expect(t, "y", inPlace(found, "y"), "y0")
}

func TestAWaitTakesThePlaceOfTheFirstThatFailed(t *testing.T) {
	ended := named("w1", over("w"))
	ended.State = backlane.StepState_STEP_STATE_FAILED
	found := inPlaces([]*backlane.Step{
		named("w0", over("w")), ended, named("w2", over("w")), named("w3", over("w")),
	})
	expect(t, "w", inPlace(found, "w"), "w0", "w2", "w3")
}

func TestAFailedStepCountsAmongThoseOfItsName(t *testing.T) {
	ctx, b, l := callable(named("x0", failedStep("x")), named("x1", recorded("x", "1")))
	track, _ := trackOf(ctx)
	before, err := track.enter(call{identity: identity{name: "x"}})
	if err != nil || before.GetId() != "x0" {
		t.Fatalf("first: %v, %v", before, err)
	}
	never := func(context.Context) (int, error) { return 0, errors.New("called") }
	if output, err := Step(ctx, "x", never); output != 1 || err != nil {
		t.Fatalf("second: %v, %v", output, err)
	}
	before, err = track.enter(call{identity: identity{name: "x"}})
	if before != nil || err != nil {
		t.Fatalf("third: %v, %v", before, err)
	}
	b.lost([]*backlane.LeaseRef{l.ref})
}

func TestStepsInsideOfStepsAreNotCounted(t *testing.T) {
	inner := named("inner", recorded("x", "1"))
	inner.ParentStepId = proto.String("outer")
	found := inPlaces([]*backlane.Step{inner, named("x0", recorded("x", "2"))})
	expect(t, "x", inPlace(found, "x"), "x0")
}

func TestAKeyTellsStepsApart(t *testing.T) {
	second := recorded("x", "2")
	second.Key = "b"
	ctx, _, _ := callable(recorded("x", "1"), second)
	never := func(context.Context) (int, error) { return 0, errors.New("called") }
	if output, err := Step(ctx, "x", never, Key("b")); output != 2 || err != nil {
		t.Fatalf("got %v, %v", output, err)
	}
}

func expectRefused(t *testing.T, code string, err error) {
	t.Helper()
	var failure *Failure
	if !errors.As(err, &failure) || failure.Code != code {
		t.Fatalf("told %v", err)
	}
	if failure.Category != backlane.ErrorCategory_ERROR_CATEGORY_VALIDATION_ERROR {
		t.Fatalf("of category %v", failure.Category)
	}
}

func TestAnotherStepsOutputIsNotUsed(t *testing.T) {
	hash := call{}
	if err := Arguments(1, "a")(&hash); err != nil {
		t.Fatal(err)
	}
	stored := func() *backlane.Step {
		step := recorded("x", "1")
		step.ArgumentsHash = hash.digest
		return step
	}
	do := func(context.Context) (int, error) { return 2, nil }

	ctx, _, _ := callable(stored())
	if output, err := Step(ctx, "x", do, Arguments(1, "a")); output != 1 || err != nil {
		t.Fatalf("the same arguments: %v, %v", output, err)
	}
	ctx, _, _ = callable(stored())
	_, err := Step(ctx, "x", do, Arguments(1, "b"))
	expectRefused(t, "STEP_MISMATCH", err)
	ctx, _, _ = callable(stored())
	_, err = Step(ctx, "x", do)
	expectRefused(t, "STEP_MISMATCH", err)
	ctx, _, _ = callable(over("x"))
	_, err = Step(ctx, "x", do)
	expectRefused(t, "STEP_MISMATCH", err)
	ctx, _, _ = callable(recorded("x", "1"))
	expectRefused(t, "STEP_MISMATCH", Sleep(ctx, "x", 1))
}

func TestTheHashOfArgumentsIsThatOfOtherLanguages(t *testing.T) {
	for want, arguments := range map[string][]any{
		"5eed25f9aa1c68139fe47d7ea93769c1": nil,
		"a066c4e445ad90b8674d676cc17efa17": {
			"<é>", 7, true, nil, map[string]any{"b": 1, "a": []int{2}},
		},
	} {
		one := call{}
		if err := Arguments(arguments...)(&one); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(one.digest); got != want {
			t.Fatalf("%v: %s", arguments, got)
		}
	}
}

func TestStepsOfAnotherVersionAreNotUsed(t *testing.T) {
	_, l := begun(recorded("x", "1"))
	l.SchemaVersion, l.version = "1", "1"
	if err := checkVersion(l); err != nil {
		t.Fatal(err)
	}
	l.version = "2"
	expectRefused(t, "STEP_VERSION", checkVersion(l))
	l.Steps = nil
	if err := checkVersion(l); err != nil {
		t.Fatal(err)
	}
}

func TestStepsAndSuspensionsNameTheVersion(t *testing.T) {
	b, l := begun()
	l.version = "7"
	b.record(l, started("x"))
	report := nextMessage(t, b).GetSteps().GetReports()[0]
	suspension := suspended(l, nil).body.(*backlane.Suspension)
	told := []string{report.GetSchemaVersion(), suspension.GetSchemaVersion()}
	expect(t, "versions", told, "7", "7")
}

func TestAPauseLetsNoStepBegin(t *testing.T) {
	ctx, b, l := callable(recorded("x", "1"))
	b.pauses([]*backlane.LeaseRef{l.ref})
	do := func(context.Context) (int, error) { return 2, nil }
	if output, err := Step(ctx, "x", do); output != 1 || err != nil {
		t.Fatalf("a recorded step: %v, %v", output, err)
	}
	if _, err := Step(ctx, "x", do); !errors.Is(err, ErrSuspended) {
		t.Fatalf("a new step: %v", err)
	}
}

func TestAStepTakesNoSteps(t *testing.T) {
	ctx, _, _ := callable()
	ctx, cancel := context.WithCancel(ctx)
	_, err := Step(ctx, "x", func(inside context.Context) (int, error) {
		defer cancel() // nobody answers
		_, err := WaitForInput(inside, "w", "key")
		return 0, err
	})
	if !errors.Is(err, ErrOutside) {
		t.Fatalf("told %v", err)
	}
}

func TestAWaitSuspendsUntilItIsOver(t *testing.T) {
	ctx, _, _ := callable()
	var wait *suspension
	if _, err := WaitForInput(ctx, "w", "key"); !errors.As(err, &wait) {
		t.Fatalf("told %v", err)
	}
	if point := wait.waits[0]; point.GetKey() != "key" || point.GetName() != "w" {
		t.Fatalf("waits for %v", point)
	}
	given := over("w")
	given.Output = proto.String(`{"yes": true}`)
	ctx, _, _ = callable(given)
	input, err := WaitForInput(ctx, "w", "key")
	if string(input) != `{"yes": true}` || err != nil {
		t.Fatalf("got %s, %v", input, err)
	}
}

func TestAWaitWithoutInputSaysSoAndASleepDoesNot(t *testing.T) {
	ctx, _, _ := callable(over("w"), over("w"))
	if _, err := WaitForInput(ctx, "w", "key"); err != ErrNoInput {
		t.Fatalf("told %v", err)
	}
	if err := Sleep(ctx, "w", 1); err != nil {
		t.Fatal(err)
	}
}

func TestAnOpenWaitGoesOnUnderItsID(t *testing.T) {
	open := over("w")
	open.Id, open.State = "step_open", backlane.StepState_STEP_STATE_RUNNING
	ctx, _, _ := callable(open)
	var wait *suspension
	if err := Sleep(ctx, "w", 1); !errors.As(err, &wait) {
		t.Fatalf("told %v", err)
	}
	if id := wait.waits[0].GetStepId(); id != "step_open" {
		t.Fatalf("waits as %s", id)
	}
}

func TestAStepIDIsAKSUID(t *testing.T) {
	const last = "step_aWgEPTl1tmebfsQzFP4bxwgy80V" // of 20 bytes that are all ones
	for range 100 {
		id := newStepID()
		if len(id) != len(last) || id >= last || strings.Trim(id[5:], base62) != "" {
			t.Fatalf("made %s", id)
		}
	}
}
