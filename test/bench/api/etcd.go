// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"postern.dev/postern/internal/store"
)

// serveEtcd is the child: the store's own embedded etcd, with the store's
// settings, until it is told to end.
func serveEtcd(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := store.OpenEmbedded(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	s.Close()
	return nil
}

// measureEtcd puts values of 1 KiB under keys of their own, below a prefix
// that the child's store does not watch.
func measureEtcd(ctx context.Context, p parameters, dir string) ([]sample, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "etcd", dir)
	cmd.Env = []string{"TMPDIR=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}()
	if _, err := out.Read(make([]byte, 16)); err != nil {
		return nil, errors.New("etcd did not start")
	}
	// Every client has a connection of its own, as those of the API have.
	var clients []*clientv3.Client
	for range p.Clients {
		c, err := clientv3.New(clientv3.Config{
			Endpoints: []string{"unix://" + filepath.Join(dir, "client.sock")}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
		})
		if err != nil {
			return nil, err
		}
		defer c.Close()
		clients = append(clients, c)
	}
	value := strings.Repeat("x", 1024)
	m := load(ctx, p, func(ctx context.Context, client, n int) error {
		_, err := clients[client].Put(ctx, fmt.Sprintf("/bench/%d/%d", client, n), value)
		return err
	})
	m.Metric = "put"
	return []sample{m}, ctx.Err()
}
