package worker

import (
	"context"
	"testing"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	backlane "example.com/backlane/gen/backlane/v1"
	"example.com/backlane/refusal"
)

var invalid = &refusal.Refusal{Code: codes.InvalidArgument, Reason: "INVALID_ARGUMENT"}

func leaseOf(token string) *lease {
	ctx, cancel := context.WithCancelCause(context.Background())
	sent := &backlane.Lease{LeaseToken: token, Execution: &backlane.BackgroundExecution{}}
	return &lease{
		Lease: sent, ref: &backlane.LeaseRef{LeaseToken: token}, ctx: ctx, cancel: cancel,
	}
}

// filled is a book whose leases are begun and completed, and whose reports are not sent yet.
func filled(tokens ...string) *book {
	b := newBook(len(tokens), func(*lease) {})
	leases := []*lease{}
	for _, token := range tokens {
		leases = append(leases, leaseOf(token))
	}
	b.arrive(leases)
	sendAcknowledgement(b)
	for _, l := range leases {
		b.finish(l, completion(l.ref, token(l)))
	}
	return b
}

func token(l *lease) string { return l.GetLeaseToken() }

func sendAcknowledgement(b *book) {
	_, sent, _ := b.next()
	sent()
}

func nextMessage(t *testing.T, b *book) *backlane.WorkRequest {
	t.Helper()
	request, _, _ := b.next()
	if request == nil {
		t.Fatal("nothing to say")
	}
	return request
}

func tokensOf(request *backlane.WorkRequest) (tokens []string) {
	for _, result := range request.GetComplete().GetResults() {
		tokens = append(tokens, result.GetLeaseToken())
	}
	for _, failure := range request.GetFail().GetFailures() {
		tokens = append(tokens, failure.GetLeaseToken())
	}
	return tokens
}

func expect(t *testing.T, what string, actual []string, expected ...string) {
	t.Helper()
	if len(actual) != len(expected) {
		t.Fatalf("%s: %v, not %v", what, actual, expected)
	}
	for i := range expected {
		if actual[i] != expected[i] {
			t.Fatalf("%s: %v, not %v", what, actual, expected)
		}
	}
}

func TestALeaseIsBegunOnceItIsAcknowledged(t *testing.T) {
	begun := make(chan string, 1)
	b := newBook(1, func(l *lease) { begun <- token(l) })
	b.arrive([]*lease{leaseOf("a")})
	_, sent, _ := b.next()
	if len(begun) != 0 {
		t.Fatal("begun before the acknowledgement was sent")
	}
	sent()
	expect(t, "begun", []string{<-begun}, "a")
}

func TestReportsAreBatchedAndRepeatedUntilTheyAreAnswered(t *testing.T) {
	b := filled("a", "b")
	expect(t, "first", tokensOf(nextMessage(t, b)), "a", "b")
	b.endStream(nil)
	b.beginStream()
	expect(t, "repeated", tokensOf(nextMessage(t, b)), "a", "b")
	outcome := &backlane.LeaseOutcome{
		Outcome: &backlane.LeaseOutcome_Result{Result: &backlane.LeaseResult{}},
	}
	if err := b.outcomes([]*backlane.LeaseOutcome{outcome, outcome}); err != nil {
		t.Fatal(err)
	}
	if held := b.leftovers(); len(held) != 0 {
		t.Fatalf("still held: %v", held)
	}
}

func TestWhatTheWelcomeDoesNotListIsDroppedUnlessItWasSaid(t *testing.T) {
	b := filled("said")
	nextMessage(t, b)
	unsaid := leaseOf("unsaid")
	b.arrive([]*lease{unsaid})
	b.endStream(nil)
	b.beginStream()
	b.welcome(nil)
	if cause := context.Cause(unsaid.ctx); cause != ErrLeaseLost {
		t.Fatalf("not told that the lease is lost: %v", cause)
	}
	expect(t, "repeated", tokensOf(nextMessage(t, b)), "said")
}

func TestNothingIsReportedOfALostLease(t *testing.T) {
	b := filled("a", "b")
	b.lost([]*backlane.LeaseRef{{LeaseToken: "a"}})
	expect(t, "reported", tokensOf(nextMessage(t, b)), "b")
}

func TestAMessageThatIsRefusedIsTakenApartAndItsCulpritFails(t *testing.T) {
	b := filled("a", "b")
	nextMessage(t, b)
	b.endStream(invalid)
	b.beginStream()
	expect(t, "first", tokensOf(nextMessage(t, b)), "a")
	expect(t, "second", tokensOf(nextMessage(t, b)), "b")
	b.endStream(invalid)
	b.beginStream()
	failure := nextMessage(t, b)
	if failure.GetFail() == nil {
		t.Fatalf("the culprit did not fail: %v", failure)
	}
	expect(t, "failed", tokensOf(failure), "a")
	expect(t, "completed", tokensOf(nextMessage(t, b)), "b")
}

func TestARefusedOutputFailsAndARefusedFailureIsReleased(t *testing.T) {
	b := filled("a")
	refused := &backlane.LeaseOutcome{Outcome: &backlane.LeaseOutcome_Status{
		Status: &spb.Status{Code: int32(codes.OutOfRange), Message: "too large"},
	}}
	nextMessage(t, b)
	if err := b.outcomes([]*backlane.LeaseOutcome{refused}); err != nil {
		t.Fatal(err)
	}
	expect(t, "failed", tokensOf(nextMessage(t, b)), "a")
	if err := b.outcomes([]*backlane.LeaseOutcome{refused}); err != nil {
		t.Fatal(err)
	}
	if nextMessage(t, b).GetRelease() == nil {
		t.Fatal("not released")
	}
}

func TestCreditIsGivenForFreeSlotsAlone(t *testing.T) {
	b := newBook(3, func(*lease) {})
	if credit := nextMessage(t, b).GetCredit().GetExecutions(); credit != 3 {
		t.Fatalf("credit for %d", credit)
	}
	first := leaseOf("a")
	b.arrive([]*lease{first, leaseOf("b")})
	sendAcknowledgement(b)
	if request, _, _ := b.next(); request != nil {
		t.Fatalf("said %v with one slot free and one lease on its way", request)
	}
	b.finish(first, completion(first.ref, nil))
	nextMessage(t, b) // the report
	if credit := nextMessage(t, b).GetCredit().GetExecutions(); credit != 1 {
		t.Fatalf("credit for %d", credit)
	}
}

func TestADrainGivesBackWhatHasNotBegunAndEndsTheStream(t *testing.T) {
	b := newBook(1, func(*lease) { t.Error("begun") })
	b.arrive([]*lease{leaseOf("a")})
	b.drain()
	if nextMessage(t, b).GetDrain() == nil {
		t.Fatal("drain is not said first")
	}
	sendAcknowledgement(b)
	if nextMessage(t, b).GetRelease() == nil {
		t.Fatal("not released")
	}
	if _, _, isEnd := b.next(); isEnd {
		t.Fatal("ended before the release was answered")
	}
	released := &backlane.LeaseOutcome{Outcome: &backlane.LeaseOutcome_Result{}}
	if err := b.outcomes([]*backlane.LeaseOutcome{released}); err != nil {
		t.Fatal(err)
	}
	if _, _, isEnd := b.next(); !isEnd {
		t.Fatal("not ended")
	}
}

func TestAnIntegerThatADoubleWouldRoundIsNoOutput(t *testing.T) {
	for _, output := range []any{int64(1)<<53 + 1, []any{map[string]uint64{"n": 1<<64 - 1}}} {
		if _, err := toValue(output); err == nil {
			t.Errorf("%v is taken", output)
		}
	}
	for _, output := range []any{int64(1) << 53, 1e300, 0.1, "9007199254740993"} {
		if value, err := toValue(output); err != nil || proto.Size(value) == 0 {
			t.Errorf("%v: %v", output, err)
		}
	}
}
