// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"

	"postern.dev/postern/internal/audit"
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
