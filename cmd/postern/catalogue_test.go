// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"postern.dev/postern/internal/catalogue"
	"postern.dev/postern/internal/vpc"
)

func TestAServicesBackendIsToldWhoCallsAsConfigured(t *testing.T) {
	key := filepath.Join(t.TempDir(), "identity.pem")
	const pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n-----END PRIVATE KEY-----\n"
	if err := os.WriteFile(key, []byte(pem), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		identity, file string
		want           vpc.BackendIdentity
		fails          string // in the error; "" is none
	}{
		{"", "", vpc.IdentityNone, ""},
		{"none", "", vpc.IdentityNone, ""},
		{"proxy", "", vpc.IdentityProxy, ""},
		{"header", key, vpc.IdentityHeader, ""},
		{"header", "", "", "set identityKeyFile"},
		{"", key + "x", "", "identityKeyFile: open"},
		{"", "catalogue_test.go", "", "identityKeyFile catalogue_test.go: want one block"},
		{"PROXY", "", "", `"PROXY": want none, proxy or header`},
	} {
		cfg := defaultConfig()
		cfg.DataDir, cfg.IdentityKeyFile = t.TempDir(), c.file
		cfg.Services = catalogue.Default()
		cfg.Services[0].Identity = c.identity
		err := cfg.check()
		if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%q, %q: %v, want an error that says %q", c.identity, c.file, err, c.fails)
			continue
		}
		if err != nil {
			continue
		}
		services, err := cfg.catalogue()
		if err != nil || services[0].Identity != c.want {
			t.Errorf("%q: %q, %v", c.identity, services[0].Identity, err)
		}
		if (cfg.IdentityKey != "") != (c.file != "") {
			t.Errorf("%q: the key of %q is %q", c.identity, c.file, cfg.IdentityKey)
		}
	}
}

// The words of YAML 1.1 for true and false mean that in the configuration and in a
// file of services, and another word is refused with its line.
func TestYesAndNoAreNoTexts(t *testing.T) {
	for word, want := range map[string]string{"yes": "true", "On": "true", "no": "false", "OFF": "false", "enabled": "refused", "1": "refused"} {
		file := filepath.Join(t.TempDir(), "services.yaml")
		if err := os.WriteFile(file, []byte("services:\n- name: sqs\n  backend: http://192.0.2.80\n  policySupported: "+word+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for from, read := range map[string]func() (*Config, error){
			"servicesFile":      func() (*Config, error) { return readServicesFile(file) },
			"the configuration": func() (*Config, error) { c := defaultConfig(); return &c, loadConfig(file, &c) },
		} {
			c, err := read()
			got := "refused"
			switch {
			case err == nil:
				got = strconv.FormatBool(*c.Services[0].PolicySupported)
			case err.Error() != file+":4: policySupported: want true or false":
				t.Errorf("%s in %s: %v", word, from, err)
			}
			if got != want {
				t.Errorf("%s in %s: %s, want %s", word, from, got, want)
			}
		}
	}
}
