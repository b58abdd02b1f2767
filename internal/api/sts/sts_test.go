// SPDX-License-Identifier: Apache-2.0

package sts_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/sts"
	"postern.dev/postern/internal/control"
)

func TestSDKClientLearnsWhoItIs(t *testing.T) {
	caller := control.Caller{Account: "111111111111", Name: "consumer", ARN: "arn:aws:iam::111111111111:root"}
	url := apitest.Serve(t, &sts.Actions, awsquery.Parse, nil, caller)
	client := awssts.New(awssts.Options{
		Region: "us-east-1", BaseEndpoint: &url, HTTPClient: apitest.Client(),
		Credentials: apitest.Keys(),
	})
	out, err := client.GetCallerIdentity(context.Background(), &awssts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	if *out.Account != "111111111111" || *out.UserId != "111111111111" || *out.Arn != caller.ARN {
		t.Errorf("got %s %s %s", *out.Account, *out.UserId, *out.Arn)
	}
}

func TestOtherActionsAnswerInvalidActionByName(t *testing.T) {
	form, err := awsquery.FormOf(url.Values{"Action": {"AssumeRoleWithSAML"}, "Version": {"2011-06-15"}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	sts.Actions.Serve(w, &sts.Call{Context: t.Context(), Caller: control.Caller{Account: "111111111111"}}, form, "req-1")
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "<Code>InvalidAction</Code>") || !strings.Contains(w.Body.String(), "AssumeRoleWithSAML") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
