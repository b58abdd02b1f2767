// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"postern.dev/postern/test/bench/stats"
)

// growth is how much dearer a call is with many endpoints stored than with few.
type growth struct {
	Few    int                     `json:"few"`
	Many   int                     `json:"many"`
	Blocks int                     `json:"blocks"` // each few, many, many, few
	Ratios map[string]stats.Spread `json:"ratios"` // by call: median time with many through that with few
}

// perVPC is how many endpoints a VPC gets.
const perVPC = 200

// calls of a block, on each server.
const (
	growthBlocks = 15
	growthCalls  = 200
)

var nextToken = regexp.MustCompile(`<nextToken>([^<]+)</nextToken>`)

func measureGrowth(ctx context.Context, p parameters, out io.Writer) (g *growth, err error) {
	g = &growth{Few: 100, Many: p.Stored, Blocks: growthBlocks, Ratios: map[string]stats.Spread{}}
	type side struct {
		s     *server
		ids   []string
		token string // of a page in the middle
	}
	var sides [2]side
	for i, n := range []int{g.Few, g.Many} {
		dir, err := os.MkdirTemp("", "postern-bench-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		s, err := startServer(ctx, p, "postern", dir)
		if err != nil {
			return nil, err
		}
		defer s.stop()
		if err := s.prepare(ctx, (n+perVPC-1)/perVPC); err != nil {
			return nil, err
		}
		ids := make([]string, n)
		next := make(chan int)
		errs := make(chan error, p.Clients)
		for range p.Clients {
			go func() {
				var err error
				for k := range next {
					if err == nil {
						ids[k], err = s.createEndpoint(ctx, s.vpcs[k/perVPC])
					}
				}
				errs <- err
			}()
		}
		for k := range n {
			if k%1000 == 0 {
				fmt.Fprintf(out, "\rstoring endpoints: %d of %d ", k, n)
			}
			next <- k
		}
		close(next)
		for range p.Clients {
			err = errors.Join(err, <-errs)
		}
		if err != nil {
			return nil, err
		}
		// A token in the middle: page through half of them.
		token := ""
		for left := n / 2; left > 0; left -= 1000 {
			b, err := s.call(ctx, page(min(left, 1000), token))
			if err != nil {
				return nil, err
			}
			if m := nextToken.FindSubmatch(b); m != nil {
				token = string(m[1])
			}
		}
		sides[i] = side{s, ids, token}
	}
	fmt.Fprintln(out)
	// The endpoints became available long ago, but the life cycle's last writes
	// may still be on their way: they are done when none is pending.
	for _, sd := range sides {
		if err := awaitAvailable(ctx, sd.s); err != nil {
			return nil, err
		}
	}
	calls := map[string]func(sd side, n int) error{
		"describe one id": func(sd side, n int) error { return sd.s.describeEndpoint(ctx, sd.ids[n*7919%len(sd.ids)]) },
		"page of 40 in the middle": func(sd side, n int) error {
			_, err := sd.s.call(ctx, page(40, sd.token))
			return err
		},
		"endpoints of one VPC, page of 40": func(sd side, n int) error {
			f := page(40, "")
			f.Set("Filter.1.Name", "vpc-id")
			f.Set("Filter.1.Value.1", sd.s.vpcs[n%len(sd.s.vpcs)])
			_, err := sd.s.call(ctx, f)
			return err
		},
		"unknown id": func(sd side, n int) error {
			if err := sd.s.describeEndpoint(ctx, fmt.Sprintf("vpce-%017x", n)); err == nil {
				return errors.New("an id that was never made was found")
			}
			return nil
		},
	}
	for name, call := range calls {
		var ratios []float64
		for range growthBlocks {
			var med [2]float64
			var took [2][]float64
			for _, i := range []int{0, 1, 1, 0} {
				for n := range growthCalls {
					t := time.Now()
					if err := call(sides[i], n); err != nil {
						return nil, fmt.Errorf("%s: %w", name, err)
					}
					took[i] = append(took[i], time.Since(t).Seconds())
				}
			}
			for i := range took {
				slices.Sort(took[i])
				med[i] = stats.Quantile(took[i], 0.5)
			}
			ratios = append(ratios, med[1]/med[0])
		}
		g.Ratios[name] = stats.SpreadOf(ratios)
	}
	return g, nil
}

func page(size int, token string) url.Values {
	f := url.Values{"Action": {"DescribeVpcEndpoints"}, "MaxResults": {strconv.Itoa(max(size, 5))}}
	if token != "" {
		f.Set("NextToken", token)
	}
	return f
}

func awaitAvailable(ctx context.Context, s *server) error {
	for {
		f := page(5, "")
		f.Set("Filter.1.Name", "vpc-endpoint-state")
		f.Set("Filter.1.Value.1", "pending")
		b, err := s.call(ctx, f)
		if err != nil || !endpointID.Match(b) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (g *growth) print(out io.Writer) {
	tw := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(tw, "\ntime with %d endpoints stored, against %d\tratio of medians (least..greatest of %d)\taim\n", g.Many, g.Few, g.Blocks)
	for _, name := range []string{"describe one id", "unknown id", "page of 40 in the middle", "endpoints of one VPC, page of 40"} {
		s := g.Ratios[name]
		aim := "-"
		if name == "describe one id" {
			aim = fmt.Sprintf("at most 1.2: %s", map[bool]string{true: "reached", false: "MISSED"}[s.Median <= 1.2])
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", name, s, aim)
	}
	tw.Flush()
}
