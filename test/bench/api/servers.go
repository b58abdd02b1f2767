// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"postern.dev/postern/test/bench/stats"
)

const region = "us-east-1"

// motoPython is the Python that has moto, once it was found.
var motoPython string

func findMoto() (python, version string, err error) {
	cmd := exec.Command("python3", "-c", "import sys, moto, moto.server; print(sys.executable); print(moto.__version__)")
	out, err := cmd.Output()
	lines := strings.Fields(string(out))
	if err != nil || len(lines) != 2 {
		return "", "", errors.New("python3 has no moto with its server here")
	}
	return lines[0], lines[1], nil
}

// server is a running API.
type server struct {
	cmd    *exec.Cmd
	url    string
	creds  aws.Credentials
	client *http.Client
	signer *v4.Signer
	vpcs   []string
	output *bytes.Buffer
}

// startServer starts postern or moto on a free port of loopback and waits
// until it answers.
func startServer(ctx context.Context, p parameters, path, dir string) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	s := &server{
		url: "http://" + addr + "/", signer: v4.NewSigner(), output: &bytes.Buffer{},
		creds: aws.Credentials{AccessKeyID: "AKIABENCHMARK0000001", SecretAccessKey: "benchmark-secret-0001"},
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
			MaxIdleConnsPerHost: 1024, MaxConnsPerHost: 1024, Proxy: nil,
		}},
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	if path == "moto" {
		_, port, _ := net.SplitHostPort(addr)
		s.cmd = exec.Command(motoPython, "-m", "moto.server", "-H", "127.0.0.1", "-p", port)
	} else {
		config := filepath.Join(dir, "config.yaml")
		quotas := `
services:
- {name: s3, types: [Gateway, Interface], protocol: s3, prefixes: [198.51.100.0/24], addresses: [198.51.100.10], publicNames: [s3.us-east-1.amazonaws.com]}
quotas: {vpcs: 1000000, interfaceEndpointsPerVpc: 1000000}
`
		if err := os.WriteFile(config, []byte(quotas), 0o600); err != nil {
			return nil, err
		}
		data := filepath.Join(dir, "data")
		program, err := filepath.Abs(p.postern)
		if err != nil {
			return nil, err
		}
		s.cmd = exec.Command(program, "serve", "--datapath=none", "--data-dir", data, "--listen", addr, "--config", config)
		if err := os.MkdirAll(filepath.Join(data, "keys"), 0o700); err != nil {
			return nil, err
		}
		// The operator's key is known beforehand.
		keys, _ := json.Marshal(map[string]string{"accessKey": s.creds.AccessKeyID, "secretKey": s.creds.SecretAccessKey})
		if err := os.WriteFile(filepath.Join(data, "keys", "operator.json"), keys, 0o600); err != nil {
			return nil, err
		}
	}
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = env, s.output, s.output
	// The server ends with us, whatever happens.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		if _, err = s.call(ctx, url.Values{"Action": {"DescribeVpcs"}}); err == nil {
			return s, nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("did not answer: %w", err), s.stop())
		}
		time.Sleep(20 * time.Millisecond) // sleep: until the next try; the loop waits for an answer
	}
}

func (s *server) stop() error {
	s.client.CloseIdleConnections()
	s.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { s.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		s.cmd.Process.Kill()
		<-done
	}
	return nil
}

// call makes one signed call and answers the body; anything but 200 is an error.
func (s *server) call(ctx context.Context, form url.Values) ([]byte, error) {
	form.Set("Version", "2016-11-15")
	body := form.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	h := sha256.Sum256([]byte(body))
	if err := s.signer.SignHTTP(ctx, s.creds, req, hex.EncodeToString(h[:]), "ec2", region, time.Now()); err != nil {
		return nil, err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.300s", form.Get("Action"), res.Status, b)
	}
	return b, err
}

var vpcID, endpointID = regexp.MustCompile(`<vpcId>(vpc-[0-9a-f]+)</vpcId>`), regexp.MustCompile(`<vpcEndpointId>(vpce-[0-9a-f]+)</vpcEndpointId>`)

// prepare makes a VPC for each of n clients.
func (s *server) prepare(ctx context.Context, n int) error {
	for range n {
		b, err := s.call(ctx, url.Values{"Action": {"CreateVpc"}, "CidrBlock": {"10.0.0.0/16"}})
		if err != nil {
			return err
		}
		m := vpcID.FindSubmatch(b)
		if m == nil {
			return fmt.Errorf("no VPC's id in %.300s", b)
		}
		s.vpcs = append(s.vpcs, string(m[1]))
	}
	return nil
}

// createEndpoint makes an interface endpoint without a subnet, the same call
// for every server.
func (s *server) createEndpoint(ctx context.Context, vpc string) (string, error) {
	b, err := s.call(ctx, url.Values{"Action": {"CreateVpcEndpoint"}, "VpcId": {vpc}, "VpcEndpointType": {"Interface"},
		"ServiceName": {"com.amazonaws." + region + ".s3"}, "PrivateDnsEnabled": {"false"}})
	if err != nil {
		return "", err
	}
	m := endpointID.FindSubmatch(b)
	if m == nil {
		return "", fmt.Errorf("no endpoint's id in %.300s", b)
	}
	return string(m[1]), nil
}

func (s *server) describeEndpoint(ctx context.Context, id string) error {
	b, err := s.call(ctx, url.Values{"Action": {"DescribeVpcEndpoints"}, "VpcEndpointId.1": {id}})
	if err == nil && !bytes.Contains(b, []byte(id)) {
		err = fmt.Errorf("%s is not in the answer %.300s", id, b)
	}
	return err
}

// load runs call on all clients for the time of one pass. Every client has a
// number, and every call of a client.
func load(ctx context.Context, p parameters, call func(ctx context.Context, client, n int) error) sample {
	end := time.Now().Add(time.Duration(p.Seconds * float64(time.Second)))
	var mu sync.Mutex
	var m sample
	var took []float64
	var wg sync.WaitGroup
	start := time.Now()
	for c := range p.Clients {
		wg.Go(func() {
			var mine []float64
			failed, why := 0, ""
			for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
				t := time.Now()
				if err := call(ctx, c, n); err != nil {
					if failed++; why == "" {
						why = err.Error()
					}
					continue
				}
				mine = append(mine, time.Since(t).Seconds()*1e3)
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
			if m.Failed += failed; m.Failure == "" {
				m.Failure = why
			}
		})
	}
	wg.Wait()
	m.Seconds = time.Since(start).Seconds()
	slices.Sort(took)
	m.Count, m.P50, m.P99 = len(took), stats.Quantile(took, 0.5), stats.Quantile(took, 0.99)
	return m
}
