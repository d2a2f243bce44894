package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	backlane "example.com/backlane/gen/backlane/v1"
)

// Callable runs one attempt of an execution. What it returns is the output, as JSON; an error
// fails the attempt.
//
// ctx ends when the attempt is to stop: at its deadline, or because of what context.Cause names:
// ErrCancelRequested, ErrLeaseLost, ErrDraining. A callable that then returns ctx's error has
// stopped, and its lease is given back. Delivery is at least once: execution_id and attempt tell
// attempts apart.
type Callable func(ctx context.Context, lease *backlane.Lease) (any, error)

// JSON makes a Callable of a function whose input is a JSON document; none at all is null. An
// input that does not decode is a VALIDATION_ERROR, which no retry follows.
func JSON[In, Out any](run func(context.Context, In) (Out, error)) Callable {
	return func(ctx context.Context, lease *backlane.Lease) (any, error) {
		var input In
		text := "null"
		if lease.GetExecution().Input != nil {
			text = lease.GetExecution().GetInput()
		}
		if err := json.Unmarshal([]byte(text), &input); err != nil {
			return nil, &Failure{
				Category: backlane.ErrorCategory_ERROR_CATEGORY_VALIDATION_ERROR,
				Message:  fmt.Sprintf("input: %v", err),
			}
		}
		return run(ctx, input)
	}
}

// Failure is an error that says more than its text. Any other error a callable returns is
// reported as a TOOL_ERROR.
type Failure struct {
	Category backlane.ErrorCategory
	Message  string
	// Code is a short name, such as "rate_limit". It may be empty.
	Code string
	// Final asks for no retry, whatever the execution's retry rule says.
	Final bool
	// RetryAfter takes the place of the backoff where a retry follows; 0 keeps the backoff.
	RetryAfter time.Duration
	// Throttled asks for another attempt after RetryAfter, and spends none.
	Throttled bool
	// Details are any JSON, up to 64 KiB.
	Details any
}

func (f *Failure) Error() string { return f.Message }

// messageBytesMax is where the server cuts a message.
const messageBytesMax = 8 << 10

// failureOf makes a report of an error.
func failureOf(ref *backlane.LeaseRef, err error) *backlane.Failure {
	var failure *Failure
	if !errors.As(err, &failure) {
		failure = &Failure{
			Category: backlane.ErrorCategory_ERROR_CATEGORY_TOOL_ERROR,
			Message:  err.Error(),
		}
	}
	report := &backlane.Failure{
		ExecutionId: ref.GetExecutionId(),
		LeaseToken:  ref.GetLeaseToken(),
		Error:       failure.message(),
		Throttled:   failure.Throttled,
	}
	if failure.RetryAfter > 0 || failure.Throttled {
		delay := uint64(max(0, failure.RetryAfter.Milliseconds()))
		report.RetryAfterMs = &delay
	}
	return report
}

func (f *Failure) message() *backlane.ExecutionError {
	message := &backlane.ExecutionError{Category: f.Category, Message: readable(f.Message)}
	if message.Category == backlane.ErrorCategory_ERROR_CATEGORY_UNSPECIFIED {
		message.Category = backlane.ErrorCategory_ERROR_CATEGORY_TOOL_ERROR
	}
	if f.Code != "" {
		code := readable(f.Code)
		message.Code = &code
	}
	if f.Final {
		message.RetryPolicy = &backlane.RetryPolicy{Retryable: false}
	}
	if details, err := toValue(f.Details); err == nil && f.Details != nil {
		message.Details = details
	}
	return message
}

// readable cuts a text and makes it UTF-8, which gRPC insists on.
func readable(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), messageBytesMax)], "\uFFFD")
}

// toValue turns an output into JSON's form in protobuf, whose numbers are doubles. An integer
// that a double would round is refused.
func toValue(output any) (*structpb.Value, error) {
	text, err := json.Marshal(output)
	if err != nil {
		return nil, err
	}
	if err := checkIntegers(text); err != nil {
		return nil, err
	}
	value := &structpb.Value{}
	return value, protojson.Unmarshal(text, value)
}

func checkIntegers(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if err != nil {
			return nil // the end: json.Marshal wrote the text
		}
		number, ok := token.(json.Number)
		if !ok || strings.ContainsAny(number.String(), ".eE") {
			continue
		}
		double, err := number.Float64()
		if err != nil || strconv.FormatFloat(double, 'f', -1, 64) != number.String() {
			return fmt.Errorf("a double cannot hold %s; send it as a string", number)
		}
	}
}
