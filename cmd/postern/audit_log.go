// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"crypto/rand"
	"log/slog"
	"time"

	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// openAudit opens the record of API calls, if there is to be one.
func openAudit(cfg AuditConfig, log *slog.Logger) (record func(*audit.Record), file string, end func(), err error) {
	if cfg.Off {
		return nil, "", func() {}, nil
	}
	l, err := audit.Open(audit.Config{File: cfg.File, MaxSize: int64(cfg.MaxSizeMB) << 20, Keep: cfg.Keep, Log: log})
	if err != nil {
		return nil, "", nil, err
	}
	return l.Write, cfg.File, func() {
		if err := l.Close(); err != nil {
			log.Error("audit log", "error", err)
		}
	}, nil
}

// joinRecord is the record of a machine that asked to become a host. It is
// nobody's call: who has the token may make it.
func joinRecord(host vpc.HostID, from string, at time.Time, status int, err error) *audit.Record {
	r := &audit.Record{
		Time: at.UTC(), RequestID: rand.Text(), Source: from, Service: audit.ServiceOperator, Action: "JoinHost", Write: true,
		Parameters: map[string]string{"id": string(host)}, Status: status, DurationMS: float64(time.Since(at).Microseconds()) / 1000,
	}
	if err != nil {
		r.ErrorCode, r.ErrorMessage = cmp.Or(string(control.KindOf(err)), "InternalError"), err.Error()
	}
	return r
}
