// Package refusal reads the errors of a Backlane server: proto/README.md §8.
//
// An error is a google.rpc.Status whose details hold one ErrorInfo of domain "backlane", and
// beside it perhaps the fields that broke a rule and the time after which to try again.
package refusal

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Domain is the domain of every ErrorInfo that a Backlane server writes.
const Domain = "backlane"

// Refusal is one error of a server, of a call or of one item of it.
type Refusal struct {
	Code    codes.Code
	Message string
	// Reason is what to branch on, such as "LEASE_LOST". It is empty where no Backlane server
	// spoke: a broken connection, for instance.
	Reason string
	// Metadata holds every variable of the message.
	Metadata map[string]string
	// Fields are the fields that broke a rule.
	Fields []Field
	// RetryAfter is when to try again, 0 where the server did not say.
	RetryAfter time.Duration
}

// Field is a field that broke a rule, such as "items[3].config.priority".
type Field struct {
	Path string
	Rule string
}

// FromError reads the error of a call. It answers nil for nil.
func FromError(err error) *Refusal {
	if err == nil {
		return nil
	}
	var known *Refusal
	if errors.As(err, &known) {
		return known
	}
	return FromStatus(status.Convert(err).Proto())
}

// FromStatus reads the error of one item.
func FromStatus(message *spb.Status) *Refusal {
	read := status.FromProto(message)
	refusal := &Refusal{Code: read.Code(), Message: read.Message()}
	for _, detail := range read.Details() {
		refusal.add(detail)
	}
	return refusal
}

func (r *Refusal) add(detail any) {
	switch detail := detail.(type) {
	case *errdetails.ErrorInfo:
		if detail.GetDomain() == Domain {
			r.Reason, r.Metadata = detail.GetReason(), detail.GetMetadata()
		}
	case *errdetails.BadRequest:
		for _, violation := range detail.GetFieldViolations() {
			r.Fields = append(r.Fields, Field{violation.GetField(), violation.GetDescription()})
		}
	case *errdetails.RetryInfo:
		r.RetryAfter = detail.GetRetryDelay().AsDuration()
	}
}

// Error says the reason, the message, and the fields.
func (r *Refusal) Error() string {
	name := r.Reason
	if name == "" {
		name = r.Code.String()
	}
	text := fmt.Sprintf("%s: %s", name, r.Message)
	for _, field := range r.Fields {
		if !strings.Contains(text, field.Path) {
			text += fmt.Sprintf(" (%s: %s)", field.Path, field.Rule)
		}
	}
	return text
}

// IsTransient tells whether the same again may be accepted later. What was broken off may have
// happened: repeat it with the same request_id or lease_token.
func (r *Refusal) IsTransient() bool {
	switch r.Code {
	case codes.Unavailable, codes.DeadlineExceeded:
		return true
	case codes.ResourceExhausted:
		// Without a reason it is gRPC's own limit on a message's size, which stays.
		return r.Reason != ""
	default:
		return false
	}
}
