// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// hook is a webhook that can be down. It notes the ids of what it was sent.
type hook struct {
	mu          sync.Mutex
	down        bool     // guarded by mu
	tried, took []string // guarded by mu
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e struct{ MessageId, Message string }
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil || !strings.HasPrefix(r.Header.Get("Postern-Signature"), "t=") {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried = append(h.tried, e.MessageId)
	if h.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	h.took = append(h.took, e.MessageId)
}

func (h *hook) seen() (tried, took []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.tried...), append([]string(nil), h.took...)
}

// What a webhook that is down could not take goes out after everything was
// killed and started again, with the same id. The webhook's secret is nowhere
// to be read meanwhile.
func TestNotificationsSurviveAKill(t *testing.T) {
	needRoot(t)
	h := &hook{down: true}
	web := httptest.NewServer(h)
	defer web.Close()
	const secret = "the-secret-of-the-webhook"
	file := filepath.Join(t.TempDir(), "config.yaml")
	conf := fmt.Sprintf("topics: [{arn: 'arn:aws:sns:us-east-1:*', type: webhook, url: '%s/path', secret: %s, accounts: ['*']}]\n", web.URL, secret)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	i := newInstall(t, "--config", file)
	consumer, provider := i.network(i.account("consumer")), i.network(i.account("provider"))
	server, _ := provider.instance()
	i.background(i.exec(server, "source", "8080"))
	service := provider.service(server, 8080, true)
	got(provider.acct.ec2.CreateVpcEndpointConnectionNotification(context.Background(), &ec2.CreateVpcEndpointConnectionNotificationInput{
		ServiceId: &service.id, ConnectionNotificationArn: aws.String("arn:aws:sns:us-east-1:123456789012:events"), ConnectionEvents: []string{"Connect"},
	})).or(t)
	consumer.endpoint(service)
	eventually(t, "the webhook was tried", 10*time.Second, func() bool { tried, _ := h.seen(); return len(tried) > 0 })
	eventually(t, "the failure is shown", 10*time.Second, func() bool {
		var list []struct {
			Waiting int
			Notices []struct {
				MessageID, LastError string
				Attempts             int
			}
		}
		if err := json.Unmarshal([]byte(i.must("notifications", "--json")), &list); err != nil {
			t.Fatal(err)
		}
		return len(list) == 1 && list[0].Waiting == 1 && list[0].Notices[0].Attempts > 0 && list[0].Notices[0].LastError == "answered 503"
	})
	for name, pid := range children(t, i.cmd.Process.Pid) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(line, []byte(secret)) {
			t.Errorf("the secret is on the command line of %s", name)
		}
	}
	i.kill()
	h.mu.Lock()
	h.down = false
	h.mu.Unlock()
	i.start()
	eventually(t, "the webhook was told", 90*time.Second, func() bool { _, took := h.seen(); return len(took) > 0 })
	tried, took := h.seen()
	if len(took) != 1 || took[0] != tried[0] {
		t.Errorf("the webhook took %q, want once %s", took, tried[0])
	}
	if strings.Contains(i.log.String(), secret) || strings.Contains(i.log.String(), web.URL+"/path") {
		t.Errorf("the log holds the webhook's secret or URL:\n%s", i.log)
	}
}
