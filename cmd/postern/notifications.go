// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/api/admin"
)

func newNotificationsCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "notifications",
		Short: "show connection notifications and what waits to be delivered",
		Long: `Show the connection notifications of every account: where they go, whether
their topic still takes them, what waits to be delivered, how often that was
tried and what the topic said last.

LOST counts events that will not be delivered: too many waited, or the topic
refused. A notification is Disabled when its topic refused; its owner enables it
with modify-vpc-endpoint-connection-notification. One that is closing lost its
service or endpoint and goes when the last event is delivered.`,
		Example: `  postern notifications
  postern notifications --json | jq '.[] | select(.state == "Disabled") | .reason'`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return runNotifications(c.Context(), o, time.Now(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
}

func runNotifications(ctx context.Context, o *options, now time.Time, out, errOut io.Writer) error {
	cl := newClient(o)
	defer cl.Close()
	list, err := cl.Notifications(ctx)
	if err != nil {
		return serverError(o, err)
	}
	if o.json {
		return printJSON(out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(errOut, "no account has asked for connection notifications")
		return nil
	}
	t := newTable("NOTIFICATION", "ACCOUNT", "OF", "TOPIC", "STATE", "WAITING", "LOST", "REASON")
	for _, n := range list {
		state := string(n.State)
		if n.Closing {
			state += ", closing"
		}
		t.row(string(n.ID), n.Account, string(n.Service)+string(n.Endpoint), string(n.Topic), state,
			strconv.Itoa(n.Waiting), strconv.FormatInt(n.Lost, 10), n.Reason)
	}
	if err := t.write(out); err != nil {
		return err
	}
	return waitingNotices(list, now, out)
}

// waitingNotices lists what waits, as far as the server listed it.
func waitingNotices(list []admin.Notification, now time.Time, out io.Writer) error {
	t := newTable("NOTIFICATION", "ENDPOINT", "EVENT", "NUMBER", "SINCE", "ATTEMPTS", "NEXT", "LAST ERROR")
	more := 0
	for _, n := range list {
		more += n.Waiting - len(n.Notices)
		for i, w := range n.Notices {
			next := "after the one before"
			switch {
			case w.UnderWay:
				next = "under way"
			case i > 0 && n.Notices[i-1].Endpoint == w.Endpoint:
			case w.Next.After(now):
				next = "in " + w.Next.Sub(now).Round(time.Second).String()
			default:
				next = "now"
			}
			t.row(string(n.ID), string(w.Endpoint), string(w.Event), strconv.FormatInt(w.Sequence, 10), ago(now, w.Time),
				strconv.Itoa(w.Attempts), next, w.LastError)
		}
	}
	if len(t.rows) == 1 {
		return nil
	}
	fmt.Fprintln(out)
	if err := t.write(out); err != nil {
		return err
	}
	if more > 0 {
		fmt.Fprintf(out, "and %d more\n", more)
	}
	return nil
}
