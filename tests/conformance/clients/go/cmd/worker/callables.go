package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"time"

	backlane "example.com/backlane/gen/backlane/v1"
	"example.com/backlane/worker"
)

var callables = map[string]worker.Callable{
	"conformance.echo":  worker.JSON(echo),
	"conformance.fail":  fail,
	"conformance.hold":  hold,
	"conformance.steps": worker.JSON(steps),
	"conformance.sum":   worker.JSON(sum),
}

var versions = map[string]string{"conformance.steps": "1"}

// echo answers its input.
func echo(_ context.Context, input json.RawMessage) (json.RawMessage, error) {
	return input, nil
}

// fail fails with its input as the message: a JSON string's text, or whatever else it is.
func fail(_ context.Context, lease *backlane.Lease) (any, error) {
	message := lease.GetExecution().GetInput()
	_ = json.Unmarshal([]byte(message), &message)
	return nil, &worker.Failure{
		Category: backlane.ErrorCategory_ERROR_CATEGORY_TOOL_ERROR,
		Message:  message,
	}
}

type holdInput struct {
	// Milliseconds is how long to hold; until told to stop, if it is absent.
	Milliseconds *int64 `json:"ms"`
}

// hold runs until its time is over or it is told to stop. It logs that it has begun.
func hold(ctx context.Context, lease *backlane.Lease) (any, error) {
	slog.Info("holding", "execution", lease.GetExecution().GetExecutionId())
	return worker.JSON(wait)(ctx, lease)
}

func wait(ctx context.Context, input holdInput) (any, error) {
	var over <-chan time.Time
	if input.Milliseconds != nil {
		over = time.After(time.Duration(*input.Milliseconds) * time.Millisecond)
	}
	select {
	case <-over:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type sumInput struct {
	Numbers []float64 `json:"numbers"`
}

type sumOutput struct {
	Sum float64 `json:"sum"`
}

// sum adds numbers.
func sum(_ context.Context, input sumInput) (sumOutput, error) {
	output := sumOutput{}
	for _, number := range input.Numbers {
		output.Sum += number
	}
	return output, nil
}

type stepsInput struct {
	Steps []string `json:"steps"`
	Wait  *struct {
		Name string `json:"name"`
		Key  string `json:"key"`
	} `json:"wait"`
}

type stepOutput struct {
	Name string `json:"name"`
	// Nonce tells whether the step was run again.
	Nonce string `json:"nonce"`
}

type stepsOutput struct {
	Outputs []stepOutput    `json:"outputs"`
	Input   json.RawMessage `json:"input"`
}

// steps takes a durable step for each name, and then waits for an input if it is told to.
func steps(ctx context.Context, input stepsInput) (output stepsOutput, err error) {
	output.Outputs = []stepOutput{}
	for _, name := range input.Steps {
		one, err := worker.Step(ctx, name, func(context.Context) (stepOutput, error) {
			return stepOutput{Name: name, Nonce: rand.Text()}, nil
		}, worker.Arguments(name))
		if err != nil {
			return output, err
		}
		output.Outputs = append(output.Outputs, one)
	}
	if input.Wait != nil {
		output.Input, err = worker.WaitForInput(ctx, input.Wait.Name, input.Wait.Key)
	}
	return output, err
}
