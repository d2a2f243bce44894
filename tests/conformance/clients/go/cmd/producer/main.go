// Command producer enqueues one execution for each line of its input, waits for all of them, and
// prints one JSON line of each, in order.
//
//	printf '{"numbers": [1, 2]}\n' |
//	  go run ./cmd/producer -target 127.0.0.1:7433 -tenant acme -callable conformance.sum
//
// It repeats what broke off, so that a server that restarts is no more than a pause. Run again
// with the same -request-id it meets the executions of before.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	backlane "example.com/backlane/gen/backlane/v1"
	"example.com/backlane/producer"
)

var (
	target = flag.String("target", cmp.Or(os.Getenv("BACKLANE_TARGET"), "127.0.0.1:7433"),
		"the server, host:port; $BACKLANE_TARGET")
	tenant = flag.String("tenant", cmp.Or(os.Getenv("BACKLANE_TENANT"), "default"),
		"whose executions they are; $BACKLANE_TENANT")
	callable  = flag.String("callable", "conformance.sum", "what is to run")
	by        = flag.String("by", "stream", "the call to use: stream or batch")
	requestID = flag.String("request-id", fmt.Sprintf("go-%d", time.Now().UnixNano()),
		"the id that makes a repetition safe; the requests of a stream add their line's number")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "producer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	client, err := producer.New(*target, *tenant)
	if err != nil {
		return err
	}
	defer client.Close()
	requests, err := readRequests()
	if err != nil {
		return err
	}
	ids, err := enqueue(ctx, client, requests)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "enqueued %d\n", len(ids))
	records, err := client.Results(ctx, ids)
	if err != nil {
		return err
	}
	return print(records)
}

// readRequests makes a request of each line of stdin.
func readRequests() (requests []*backlane.EnqueueRequest, err error) {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20+1)
	for lines.Scan() {
		input := lines.Text()
		requests = append(requests, &backlane.EnqueueRequest{
			TenantId: *tenant, CallableName: *callable, Input: &input,
		})
	}
	return requests, lines.Err()
}

func enqueue(
	ctx context.Context, client *producer.Producer, requests []*backlane.EnqueueRequest,
) ([]string, error) {
	switch *by {
	case "batch":
		return client.EnqueueBatch(ctx, *requestID, requests)
	case "stream":
		return enqueueStream(ctx, client, requests)
	default:
		return nil, fmt.Errorf("-by %s: no such call", *by)
	}
}

func enqueueStream(
	ctx context.Context, client *producer.Producer, requests []*backlane.EnqueueRequest,
) ([]string, error) {
	for i, request := range requests {
		request.RequestId = fmt.Sprintf("%s-%d", *requestID, i)
	}
	outcomes, err := client.EnqueueStream(ctx, requests)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(outcomes))
	for i, outcome := range outcomes {
		if outcome.Err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, outcome.Err)
		}
		ids[i] = outcome.ExecutionID
	}
	return ids, nil
}

// line is what is printed of an execution.
type line struct {
	ExecutionID string          `json:"executionId"`
	Status      string          `json:"status"`
	Attempt     uint32          `json:"attempt"`
	Output      json.RawMessage `json:"output,omitempty"`
	Error       string          `json:"error,omitempty"`
}

func print(records []*backlane.BackgroundExecution) error {
	encoder := json.NewEncoder(os.Stdout)
	for _, record := range records {
		status := strings.TrimPrefix(record.GetStatus().String(), "BACKGROUND_EXECUTION_STATUS_")
		shown := line{
			ExecutionID: record.GetExecutionId(),
			Status:      strings.ToLower(status),
			Attempt:     record.GetAttempt(),
			Error:       record.GetError().GetMessage(),
		}
		if record.Output != nil {
			output, err := protojson.Marshal(record.GetOutput())
			if err != nil {
				return err
			}
			shown.Output = output
		}
		if err := encoder.Encode(shown); err != nil {
			return err
		}
	}
	return nil
}
