// SPDX-License-Identifier: Apache-2.0

// Reads cases, one JSON object on a line, and writes what the independent
// evaluator makes of each: Allowed, ImplicitlyDenied or ExplicitlyDenied. Its
// engine is asked directly: the checks in front of it want to know every action
// of AWS, and leave endpoint and session policies out.
import { createInterface } from 'node:readline'
import { loadPolicy } from '@cloud-copilot/iam-policy'

const engine = (file) => import(new URL(`./node_modules/@cloud-copilot/iam-simulate/dist/esm/${file}`, import.meta.url))
const { authorize } = await engine('core_engine/CoreSimulatorEngine.js')
const { AwsRequestImpl } = await engine('request/request.js')
const { RequestContextImpl } = await engine('requestContext.js')
const { DiscoveryContextKeyConstraints } = await engine('context_keys/discoveryContextKeyConstraints.js')

const load = (policy, name) => policy && loadPolicy(policy, { name })
const list = (policies) => (policies ?? []).map((p, i) => load(p, String(i)))
const everything = { Version: '2012-10-17', Statement: { Effect: 'Allow', Action: '*', Resource: '*' } }
const organisation = [{ orgIdentifier: 'o-1', policies: [load(everything, 'all')] }]

for await (const line of createInterface({ input: process.stdin })) {
  const c = JSON.parse(line)
  let answer
  try {
    const resource = { resource: c.resource, accountId: c.resourceAccount }
    const principal = c.principal || { type: 'Anonymous' }
    answer = authorize({
      request: new AwsRequestImpl(principal, resource, c.action, new RequestContextImpl(c.context)),
      identityPolicies: list(c.identity),
      serviceControlPolicies: c.principal ? organisation : [],
      resourceControlPolicies: organisation,
      resourcePolicy: load(c.resourcePolicy, 'resource'),
      permissionBoundaries: c.boundary && [load(c.boundary, 'boundary')],
      sessionPolicy: load(c.session, 'session'),
      vpcEndpointPolicies: c.endpoint && [load(c.endpoint, 'endpoint')],
      simulationParameters: {
        simulationMode: 'Strict',
        discoveryContextKeyConstraints: new DiscoveryContextKeyConstraints([]),
      },
      serviceSettings: {},
    }).result
  } catch (e) {
    answer = `failed: ${e.stack}`.replaceAll('\n', ' ')
  }
  process.stdout.write(answer + '\n')
}
