// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/vpc"
)

func TestEveryCallOfTheOperatorIsRecordedWithoutItsSecrets(t *testing.T) {
	l := newLab(t)
	const secret = "of-the-operators-choice"
	if _, err := l.CreateAccount(t.Context(), admin.NewAccount{Name: "own", AccessKey: "AKIAOWN0000000000001", SecretKey: secret}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Account(t.Context(), "nobody"); err == nil {
		t.Fatal("an account nobody made")
	}
	_, _ = l.Run(t.Context(), admin.NewRun{Subnet: l.subnet, Groups: []vpc.GroupID{"sg-1", "sg-2"}})
	for _, want := range []audit.Record{
		{Action: "CreateAccount", Write: true, Status: 200, Parameters: map[string]string{"name": "own", "accessKey": "AKIAOWN0000000000001", "secretKey": "(removed)"}},
		{Action: "GetAccount", Status: 404, ErrorCode: "NotFound", Parameters: map[string]string{"name": "nobody"}},
		{Action: "RunInstance", Write: true, Status: 400, ErrorCode: "Unsupported", Parameters: map[string]string{"subnet": string(l.subnet), "groups.1": "sg-1", "groups.2": "sg-2"}},
	} {
		r := <-l.audit
		if r.RequestID == "" || r.Time.IsZero() || r.AccountName != "operator" || r.Service != "postern" || r.Source != "uid 7 pid 8" || (r.ErrorCode == "") != (r.ErrorMessage == "") {
			t.Errorf("record %+v lacks who, when or from where", r)
		}
		got := audit.Record{Action: r.Action, Write: r.Write, Status: r.Status, ErrorCode: r.ErrorCode, Parameters: r.Parameters}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("record (-want +got):\n%s", d)
		}
		if strings.Contains(r.ErrorMessage, secret) {
			t.Errorf("the secret is in %q", r.ErrorMessage)
		}
	}
}

func TestResourcesThatTheOperatorMadeAreRecorded(t *testing.T) {
	l := newLab(t)
	l.withHost()
	w, err := l.Run(t.Context(), admin.NewRun{Subnet: l.subnet})
	if err != nil {
		t.Fatal(err)
	}
	if r := <-l.audit; !strings.Contains(strings.Join(r.Resources, " "), string(w.Instance)) {
		t.Errorf("resources %q, want %s among them", r.Resources, w.Instance)
	}
}
