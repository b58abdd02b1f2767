// SPDX-License-Identifier: Apache-2.0

package policy

import "testing"

func TestAPolicySaysWhichKeysItAsks(t *testing.T) {
	for _, tc := range []struct {
		doc  string
		want bool // tags of an object
	}{
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`, false},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"s3:ExistingObjectTag/team":"red"}}}}`, true},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"Null":{"S3:existingOBJECTtag/é":true}}}}`, true},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"s3:RequestObjectTag/team":"s3:ExistingObjectTag/team"}}}}`, false},
		// Variables are asked too, where they are any.
		{`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::b/${s3:ExistingObjectTag/team, 'x'}/*"}}`, true},
		{`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"${s3:ExistingObjectTag/team}"}}}}`, true},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::b/${s3:ExistingObjectTag/team}/*"}}`, false},
	} {
		p, err := Parse([]byte(tc.doc))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Asks("s3:ExistingObjectTag/"); got != tc.want {
			t.Errorf("%s: %v", tc.doc, got)
		}
		if p.Asks("aws:ResourceAccount") {
			t.Errorf("%s: it asks for nobody's account", tc.doc)
		}
	}
}
