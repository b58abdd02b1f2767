// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
)

// maxRequestBytes bounds one transaction on the wire; etcd's default of 1.5
// MiB is too little for MaxOperations.
const maxRequestBytes = 8 << 20

// 64 MB of preallocated log for a laptop's few thousand objects is waste. The
// variable belongs to the whole process: it is set before any member reads it.
func init() { wal.SegmentSizeBytes = 8 << 20 }

// OpenEmbedded starts a single etcd member in this process with its data in
// dir (made with mode 0700) and opens the store on it. The member listens on
// unix sockets in dir only.
func OpenEmbedded(ctx context.Context, dir string, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the store's directory: %w", err)
	}
	cfg := embed.NewConfig()
	cfg.Name = "postern"
	cfg.Dir = dir
	client := url.URL{Scheme: "unix", Path: filepath.Join(dir, "client.sock")}
	peer := url.URL{Scheme: "unix", Path: filepath.Join(dir, "peer.sock")}
	cfg.ListenClientUrls = []url.URL{client}
	cfg.AdvertiseClientUrls = []url.URL{client}
	cfg.ListenPeerUrls = []url.URL{peer}
	cfg.AdvertisePeerUrls = []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	// One member alone needs no time to notice a lost leader.
	cfg.TickMs, cfg.ElectionMs = 10, 100
	cfg.MaxTxnOps = MaxOperations
	cfg.MaxRequestBytes = maxRequestBytes
	cfg.QuotaBackendBytes = 4 << 30
	cfg.AutoCompactionMode = "revision"
	cfg.AutoCompactionRetention = "10000"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("start the embedded store in %s: %w", dir, err)
	}
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		e.Close()
		return nil, fmt.Errorf("start the embedded store in %s: %w", dir, err)
	case <-ctx.Done():
		e.Close()
		return nil, fmt.Errorf("start the embedded store in %s: %w", dir, ctx.Err())
	}
	c := v3client.New(e.Server)
	return newStore(ctx, c, log, func() {
		c.Close()
		e.Close()
	})
}

// OpenCluster opens the store on an external etcd cluster.
func OpenCluster(ctx context.Context, endpoints []string, log *slog.Logger) (*Store, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints:           endpoints,
		DialTimeout:         5 * time.Second,
		MaxCallSendMsgSize:  maxRequestBytes,
		Logger:              zap.NewNop(),
		PermitWithoutStream: true,
	})
	if err != nil {
		return nil, fmt.Errorf("connect to the store at %v: %w", endpoints, err)
	}
	return newStore(ctx, c, log, func() { c.Close() })
}
