// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"reflect"
	"testing"

	"postern.dev/postern/internal/api"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/awsquery/goldentest"
	"postern.dev/postern/internal/api/route53"
	"postern.dev/postern/internal/api/sdkmodel"
)

// Every parameter that the SDK can send to an action that exists is a field of
// its input struct, honoured, stored or refused, and the struct has no other.
// Which are refused is in docs/generated/api.md, where a change shows.
func TestEveryActionTakesOrRefusesEveryParameter(t *testing.T) {
	for _, s := range api.Services() {
		t.Run(s.Module, func(t *testing.T) {
			if len(s.Actions) == 0 {
				t.Error("no actions")
			}
			for _, action := range s.Actions {
				if s.Dialect == awsquery.REST {
					form, _, err := route53.Parse(goldentest.LoadREST(t, s.Module, action), 1<<20)
					if err != nil || form.Action != action {
						t.Errorf("%s: its golden request is read as %v: %v", action, form, err)
						continue
					}
					goldentest.CoverForm(t, s.Dialect, form, action, reflect.New(s.Input(action)).Interface())
					continue
				}
				goldentest.Cover(t, s.Dialect, s.Module, action, reflect.New(s.Input(action)).Interface())
			}
		})
	}
}

// Every element that an action can answer is in AWS's published model, at that
// place, in that case and of that type. What is absent is in
// docs/generated/responses.md.
func TestEveryAnswerIsInThePublishedModel(t *testing.T) {
	for _, s := range api.Services() {
		t.Run(s.Module, func(t *testing.T) {
			model, err := sdkmodel.Load(s.Module)
			if err != nil {
				t.Fatal(err)
			}
			for _, action := range s.Actions {
				shape, err := model.Operation(action)
				if err != nil {
					t.Error(err)
					continue
				}
				for _, problem := range sdkmodel.CheckType(s.Dialect, s.Output(action), shape) {
					t.Errorf("%s: %s", action, problem)
				}
			}
		})
	}
}
