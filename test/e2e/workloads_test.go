// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// leftovers is what Postern could leave behind: devices, namespaces, mounts.
func leftovers(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", "ip -br link | cut -d' ' -f1; ls /run/netns 2>/dev/null; grep -c postern /proc/self/mountinfo; ls /run/postern 2>/dev/null").Output()
	if err != nil {
		if _, exited := err.(*exec.ExitError); !exited {
			t.Fatal(err)
		}
	}
	return string(out)
}

func TestRunIsAnInstanceForOneCommand(t *testing.T) {
	needRoot(t)
	i := newInstall(t)
	a := i.account("consumer")
	n := i.network(a)
	out, err := i.postern("run", "--account", "consumer", "--subnet", n.subnet, "--security-group", n.group, "--data-dir", i.dir, "--",
		"sh", "-c", "ip -4 -br addr show eth0; cat /etc/resolv.conf; echo $SSL_CERT_FILE; exit 7").Output()
	ee, ok := err.(*exec.ExitError)
	if !ok || ee.ExitCode() != 7 {
		t.Fatalf("run: %v, want the command's exit code 7\n%s", err, out)
	}
	for _, want := range []string{"10.0.1.4/24", "nameserver 10.0.0.2", "workload-ca.pem"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("inside the workload there is no %q:\n%s", want, out)
		}
	}
	d := got(a.ec2.DescribeInstances(context.Background(), &ec2.DescribeInstancesInput{})).or(t)
	for _, r := range d.Reservations {
		for _, in := range r.Instances {
			if in.State.Name == types.InstanceStateNameRunning {
				t.Errorf("instance %s still runs", *in.InstanceId)
			}
		}
	}
}

// A namespace that exists already is put behind an interface, reaches an
// instance, and is itself again after detach.
func TestAttachPutsANamespaceBehindAnInterface(t *testing.T) {
	needRoot(t)
	i := newInstall(t)
	a := i.account("consumer")
	n := i.network(a)
	id, addr := n.instance()
	i.background(i.exec(id, "source", "8080"))
	eni := *got(a.ec2.CreateNetworkInterface(context.Background(), &ec2.CreateNetworkInterfaceInput{SubnetId: &n.subnet, Groups: []string{n.group}})).or(t).NetworkInterface.NetworkInterfaceId
	name := "pe2e-" + eni[len(eni)-6:]
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
	i.must("attach", "--eni", eni, "--netns", "/run/netns/"+name)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dial := func() ([]byte, error) {
		return exec.Command("ip", "netns", "exec", name, "/usr/bin/env", peerEnv+"=dial", self, addr+":8080", "2s").CombinedOutput()
	}
	eventually(t, "the attached namespace reaches the instance", 5*time.Second, func() bool { _, err := dial(); return err == nil })
	i.must("detach", "--eni", eni)
	if out, err := dial(); err == nil {
		t.Errorf("after detach it still reaches the instance: %s", out)
	}
	out, err := exec.Command("ip", "netns", "exec", name, "ip", "-br", "link").Output()
	if err != nil || strings.Contains(string(out), "eth0") {
		t.Errorf("after detach the namespace holds %s (%v)", out, err)
	}
}

func TestResetAfterAKillLeavesNothing(t *testing.T) {
	needRoot(t)
	before := leftovers(t)
	i := newInstall(t)
	n := i.network(i.account("consumer"))
	n.instance()
	n.instance()
	if leftovers(t) == before {
		t.Fatal("two instances made nothing on this machine")
	}
	// A server that runs is not pulled away from under.
	if out, err := i.postern("reset", "--yes").CombinedOutput(); err == nil {
		t.Errorf("reset went ahead while serve runs: %s", out)
	}
	i.kill()
	eventually(t, "reset goes ahead once the processes have ended", 10*time.Second, func() bool { return i.postern("reset", "--yes").Run() == nil })
	eventually(t, "nothing is left", 5*time.Second, func() bool { return leftovers(t) == before })
}
