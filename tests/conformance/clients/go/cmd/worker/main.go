// Command worker offers the callables that Backlane's conformance tests call.
//
//	go run ./cmd/worker -target 127.0.0.1:7433 -tenant acme
//
// SIGTERM and SIGINT drain it. Each flag has an environment variable beside it.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"example.com/backlane/worker"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

func run() error {
	target, options, err := parse()
	if err != nil {
		return err
	}
	w, err := worker.New(target, options)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return w.Run(ctx)
}

func parse() (target string, options worker.Options, err error) {
	name := cmp.Or(os.Getenv("BACKLANE_WORKER_NAME"), fmt.Sprintf("go-%d", os.Getpid()))
	tenant := flag.String("tenant", os.Getenv("BACKLANE_TENANT"),
		"the tenant to serve, all if empty; $BACKLANE_TENANT")
	flag.StringVar(&target, "target", cmp.Or(os.Getenv("BACKLANE_TARGET"), "127.0.0.1:7433"),
		"the server, host:port; $BACKLANE_TARGET")
	flag.StringVar(&options.ID, "name", name, "the worker's id; $BACKLANE_WORKER_NAME")
	concurrency := number("concurrency", "BACKLANE_CONCURRENCY", 4, "executions at once", &err)
	lease := number("lease-ms", "BACKLANE_LEASE_MS", 30_000, "silence that loses leases", &err)
	drain := number("drain-ms", "BACKLANE_DRAIN_MS", 30_000, "how long a drain may take", &err)
	flag.Parse()
	options.Callables = callables
	options.Versions = versions
	options.Concurrency = *concurrency
	options.Lease = time.Duration(*lease) * time.Millisecond
	options.DrainTimeout = time.Duration(*drain) * time.Millisecond
	if *tenant != "" {
		options.Tenants = []string{*tenant}
	}
	return target, options, err
}

// number is a flag whose default may come from the environment.
func number(name, variable string, value int, usage string, problem *error) *int {
	if text := os.Getenv(variable); text != "" {
		given, err := strconv.Atoi(text)
		if err != nil {
			*problem = fmt.Errorf("%s=%s is no number", variable, text)
		}
		value = given
	}
	return flag.Int(name, value, fmt.Sprintf("%s; $%s", usage, variable))
}
