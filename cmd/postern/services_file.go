// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"postern.dev/postern/internal/catalogue"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/yamlfile"
)

// place is where an entry of the catalogue is written.
type place struct {
	file  string
	path  string // services[0]
	lines yamlfile.Lines
}

// line is that of one of the entry's fields, "" for the entry's first.
func (p place) line(field string) int {
	if field == "" {
		return p.lines.Of(p.path)
	}
	return p.lines.Of(p.path + "." + field)
}

// servicesFile is a file of entries.
type servicesFile struct {
	Services []catalogue.Entry `json:"services"`
}

// readServicesFile reads a file of entries and the files they name.
func readServicesFile(file string) (*Config, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the services: %w", err)
	}
	var f servicesFile
	lines, err := yamlfile.Decode(file, b, &f)
	if err != nil {
		return nil, err
	}
	c := &Config{Services: f.Services}
	if err := c.readServices(file, lines, c.Services); err != nil {
		return nil, err
	}
	if len(c.Services) == 0 {
		return nil, fmt.Errorf("%s: there is no entry under the name services", file)
	}
	return c, nil
}

// readServices notes where the entries of a file are, and reads the files they name.
func (c *Config) readServices(file string, lines yamlfile.Lines, entries []catalogue.Entry) error {
	var problems catalogue.Problems
	for i := range entries {
		c.written = append(c.written, place{file, fmt.Sprintf("services[%d]", i), lines})
		for _, p := range entries[i].ReadFiles(filepath.Dir(file)) {
			p.Entry, p.Name = i, entries[i].Name
			problems = append(problems, p)
		}
	}
	if len(problems) > 0 {
		return c.located(problems)
	}
	return nil
}

// addServicesFile reads the file of entries that the configuration names, once.
func (c *Config) addServicesFile() error {
	if c.ServicesFile == "" {
		return nil
	}
	more, err := readServicesFile(c.ServicesFile)
	if err != nil {
		return err
	}
	c.Services = append(c.Services, more.Services...)
	c.written = append(c.written, more.written...)
	return nil
}

// located gives problems with entries the lines they are in, if a file has them.
func (c *Config) located(err error) error {
	var problems catalogue.Problems
	if !errors.As(err, &problems) || len(c.written) == 0 {
		return err
	}
	var files []error
	at := map[string]*yamlfile.Problems{}
	for _, p := range problems {
		if p.Entry >= len(c.written) {
			return err
		}
		w := c.written[p.Entry]
		if at[w.file] == nil {
			at[w.file] = &yamlfile.Problems{File: w.file}
			files = append(files, at[w.file])
		}
		text := p.Text
		if p.Field != "" {
			text = p.Field + ": " + text
		}
		at[w.file].List = append(at[w.file].List, yamlfile.Problem{Line: w.line(p.Field), Text: fmt.Sprintf("service %.64q: %s", p.Name, text)})
	}
	return errors.Join(files...)
}

// catalogue turns the configured services into domain objects.
func (c *Config) catalogue() ([]vpc.CatalogueService, error) {
	at := catalogue.Place{Region: c.Region, Now: time.Now(), Signs: c.IdentityKey != ""}
	pool, err := c.publicPool()
	if err != nil {
		return nil, err
	}
	for _, p := range pool {
		at.Reserved = append(at.Reserved, catalogue.Reserved{Prefix: p, What: "the publicPool"})
	}
	pool6, err := c.ipv6Pool()
	if err != nil {
		return nil, err
	}
	for _, p := range pool6 {
		at.Reserved = append(at.Reserved, catalogue.Reserved{Prefix: p, What: "the ipv6Pool"})
	}
	if u, err := c.underlay(); err == nil && u.IsValid() {
		at.Reserved = append(at.Reserved, catalogue.Reserved{Prefix: netip.PrefixFrom(u, 32), What: "this machine's underlay"})
	}
	services, err := catalogue.Check(c.Services, at)
	if err != nil {
		return nil, c.located(err)
	}
	var out []vpc.CatalogueService
	for _, s := range services {
		out = append(out, *s)
	}
	return out, nil
}
