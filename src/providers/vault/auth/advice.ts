/**
 * What an operator reads where Vault refuses, as one table: situation, what is said, what to do. The
 * first line whose facts hold counts. It follows from facts alone: which step failed, Vault's words,
 * the age of the token, and what Vault says that the token may do.
 *
 * Seen on Vault 1.9.3 and 1.21.1 (test/vault/advice.test.ts), where the line does not name another source.
 */

/** What was refused: a step of a login, or the use of a token. */
export type Step = 'login' | 'unwrap' | 'dedicated token' | 'use';

export type Facts = {
  readonly step: Step;
  /** The status and Vault's own words. */
  readonly status: number;
  readonly words: string;
  /** The path that was refused, and the capability that it takes. */
  readonly path: string;
  readonly capability: 'read' | 'update';
  /** The name of the method in the configuration, e.g. `appRole`. */
  readonly method: string;
  /** What logs in, and where another one can be written, e.g. `the secret id` and its file. */
  readonly credential: { readonly what: string; readonly place: string };
  /** Of the token that was used. Undefined in the steps before there is one. */
  readonly token:
    | {
        /** Whether Vault granted it within the last seconds. */
        readonly fresh: boolean;
        /** Whether it was made by a login of this process, and not by somebody else. */
        readonly own: boolean;
        /** Whether Vault took it, and a policy denied the request. */
        readonly good: boolean;
        /** What sys/capabilities-self answers for the path; undefined where it is refused too. */
        readonly granted: readonly string[] | undefined;
      }
    | undefined;
};

export type AdviceLine = {
  /** The facts in words, as in docs/authentication.md. */
  readonly situation: string;
  readonly when: (facts: Facts) => boolean;
  /** What is wrong and what to do. */
  readonly advice: (facts: Facts) => string;
};

const policyLine = ({ path, capability }: Facts): string =>
  `path "${path}" { capabilities = ["${capability}"] }`;

const NARROWING =
  'allowed_parameters, denied_parameters, required_parameters, min_wrapping_ttl and max_wrapping_ttl';

/**
 * Whether Vault's words with a 403 are about the token itself. It checks that first and says `permission
 * denied` alone where it fails, from 1.11 or so on with `invalid token` where it does not know it. What a
 * policy denies comes as `1 error occurred:` with the same words (1.9.3 and 1.21.1).
 */
export function isTokenDenied(words: string): boolean {
  return !/error occurred/i.test(words) || /invalid token|bad token/i.test(words);
}

const OTHER_ADDRESSES =
  'the role binds its tokens to other addresses than the one that Vault sees (change token_bound_cidrs, and mind load balancers on the way), the role limits how often they may be used (set token_num_uses to 0), or somebody revokes them';

const isJwt = ({ method }: Facts): boolean => /jwt|kubernetes/i.test(method);

const login =
  (words: RegExp, more: (facts: Facts) => boolean = () => true) =>
  (facts: Facts): boolean =>
    facts.step === 'login' && words.test(facts.words) && more(facts);

export const ADVICE: readonly AdviceLine[] = [
  {
    situation: 'a wrapping token that does not work any more',
    when: ({ step }) => step === 'unwrap',
    advice: ({ credential }) =>
      `the wrapping token in ${credential.place} has expired or was used before. It works once, so after a restart a new one has to be written to the file. If this plugin has not used it, somebody else has the secret id: revoke it and look for theft`,
  },
  {
    situation: 'the login for the dedicated token is granted, and its token is not taken from here',
    when: ({ step, status, words }) =>
      step === 'dedicated token' && status === 403 && isTokenDenied(words),
    advice: () =>
      `Vault granted the token of this login seconds ago, so the credentials are good: ${OTHER_ADDRESSES}`,
  },
  {
    situation: 'the KV secret with the dedicated token may not be read',
    when: ({ step, status }) => step === 'dedicated token' && status === 403,
    advice: (facts) =>
      `the identity that logs in may not read the secret: are mount, path and kvVersion of dedicatedToken right? Otherwise add to its policy ${policyLine(facts)}`,
  },
  {
    situation: 'the KV secret with the dedicated token is not there',
    when: ({ step }) => step === 'dedicated token',
    advice: ({ path }) =>
      `there is no secret at ${path}: write the token into it, or correct mount, path and kvVersion of dedicatedToken`,
  },
  {
    situation: 'the method is not there, or not configured',
    when: login(
      /missing client token|could not load (?:backend )?configuration|tls connection required/i,
    ),
    advice: () =>
      'the method is not enabled at this mount, or not configured there: check mount and namespace, and read the configuration of the method in Vault',
  },
  {
    situation: 'the address of this node is not one that the role or the secret id allows',
    when: login(/CIDR|source address/i),
    advice: () =>
      "the role or the secret id allows other addresses than the one that Vault sees: change secret_id_bound_cidrs or the secret id's cidr_list, and mind load balancers on the way",
  },
  {
    situation: 'the role id is unknown (Vault 1.9)',
    when: login(/invalid role ID$/i),
    advice: () => 'there is no role with this role id: check roleID, roleIDFile and mount',
  },
  {
    situation: 'the role id or the secret id is wrong',
    when: login(/invalid (?:role or )?secret[ _]id|missing secret_id/i),
    advice: ({ credential }) =>
      `the secret id has expired, was used up or destroyed, or belongs to another role: write a new secret id to ${credential.place}, and check the role id`,
  },
  {
    situation: 'the name or the password is wrong',
    when: login(/invalid username or password/i),
    advice: ({ credential }) =>
      `the password in ${credential.place} is not that of the user, or there is no such user: write the right one`,
  },
  {
    situation: 'the role is unknown (JWT, Kubernetes)',
    when: login(/role .* could not be found|invalid role name/i),
    advice: () => 'there is no such role under this mount: check role and mount',
  },
  {
    // 'error verifying token signature: no known key successfully validated the token signature' where the
    // method has keys, 'failed to verify id token signature' where it fetches them.
    situation: 'a JWT whose signature Vault cannot verify',
    when: login(/signature|signed with unsupported|signing algorithm/i, isJwt),
    advice: ({ credential }) =>
      `Vault has no key that the token in ${credential.place} was signed with, and the role is not at fault: check jwt_validation_pubkeys, jwks_url, oidc_discovery_url or pem_keys in the configuration of the method, also after its signer has changed its keys, and that the token is of that signer`,
  },
  {
    situation: 'a JWT of another issuer',
    when: login(/\(iss\)|\bissuer\b/i, isJwt),
    advice: ({ credential }) =>
      `the token in ${credential.place} is of another issuer than the configuration of the method allows, and the role is not at fault: check its bound_issuer (issuer with the method of Kubernetes), and that the token is of that issuer`,
  },
  {
    situation: 'a JWT that does not fit the role, or is too old',
    when: login(
      /./,
      (facts) => isJwt(facts) && (facts.status !== 403 || /\bclaim\b/i.test(facts.words)),
    ),
    advice: ({ credential }) =>
      `the token in ${credential.place} does not fit the role: check its audience, subject and claims against the role's bounds, its end and the clocks, and whether the file is renewed`,
  },
  {
    // 'service account name not authorized' and 'namespace not authorized', with 403; seen on 1.21.1
    // (test/e2e/kubernetes-auth.test.ts), and in auth-kubernetes, path_login.go.
    situation: 'a ServiceAccount that the role is not bound to',
    when: login(/not authorized/i, ({ method }) => /kubernetes/.test(method)),
    advice: ({ credential }) =>
      `the token in ${credential.place} is of a ServiceAccount that the role does not allow: check the role's bounds, bound_service_account_names and bound_service_account_namespaces`,
  },
  {
    // Vault says no more where its TokenReview is refused or has no answer: auth-kubernetes, path_login.go;
    // seen on 1.21.1 with an API server that was away, that answered 401, and that did not know the token.
    situation: "a ServiceAccount's token of which Vault does not say why",
    when: login(
      /permission denied/i,
      ({ method, status }) => /kubernetes/.test(method) && status === 403,
    ),
    advice: ({ credential }) =>
      `Vault does not say why, but in its own log: the API server that it asks (kubernetes_host) does not answer, or does not take token_reviewer_jwt any more, or the token in ${credential.place} has expired or its ServiceAccount is gone, or the entity of this login is disabled`,
  },
  {
    situation: 'a TLS certificate that no role takes',
    when: login(/./, ({ method }) => /cert/.test(method)),
    advice: ({ credential }) =>
      `Vault does not take the certificate in ${credential.place}: check its validity, its authority and the role's bounds, and that nothing on the way ends TLS`,
  },
  {
    situation: 'a login that is refused without a reason, by a method that locks users out',
    when: login(/./, ({ method, status }) => status === 403 && /appRole|userpass/.test(method)),
    advice: () =>
      'Vault does not say why: it has locked this user out after five wrong logins (from 1.13 on; see sys/locked-users, and unlock the user), or the entity of this login is disabled (identity/entity), or nothing is there: check mount and namespace',
  },
  {
    situation: 'a login that is refused without a reason',
    when: ({ step }) => step === 'login',
    advice: ({ credential }) =>
      `check mount, namespace and role, and that the entity of this login is not disabled (identity/entity); otherwise write ${credential.what} anew to ${credential.place}`,
  },
  {
    situation: 'the token is good, and its policy does not allow the path',
    when: ({ token, capability }) =>
      token?.granted !== undefined && !mayDo(token.granted, capability),
    advice: (facts) =>
      `the token is good, and no policy of it allows ${facts.capability} on ${facts.path}: is the name right? Otherwise add to its policy ${policyLine(facts)}, and remove every rule for that path that has deny`,
  },
  {
    situation: 'the token is good and may not ask what it may do, for lack of the default policy',
    when: ({ token }) => token?.good === true && token.granted === undefined,
    advice: (facts) =>
      `the token is good, and its policy does not allow ${facts.capability} on ${facts.path}: is the name right? Otherwise add to the policy ${policyLine(facts)}; where the line is there, remove ${NARROWING} from it, and every rule for that path that has deny`,
  },
  {
    situation: 'the token is good, and its policy allows the path, but not this request',
    when: ({ token }) => token?.good === true,
    advice: ({ path, capability }) =>
      `a policy allows ${capability} on ${path}, but not this request: remove ${NARROWING} from its rule for ${path}`,
  },
  {
    situation: 'Vault granted the token seconds ago, and does not take it from here',
    when: ({ token }) => token?.fresh === true && token.own,
    advice: () =>
      `Vault granted this token seconds ago, so the credentials are good: ${OTHER_ADDRESSES}`,
  },
  {
    situation: 'a token of a file or a KV secret that Vault does not know',
    when: ({ token }) => token !== undefined && !token.own,
    advice: (facts) =>
      `the token in ${facts.credential.place} was revoked or has expired: write a new token there, or change its bound_cidrs where it is bound to other addresses, or enable its entity where that is disabled`,
  },
  {
    situation: 'a token of a login that Vault does not know any more',
    when: () => true,
    advice: (facts) =>
      `the token was revoked or has expired, and a new login follows; it is not the policy for ${facts.path}`,
  },
];

/** What to do where Vault refuses. */
export function adviceFor(facts: Facts): string {
  // The last line takes whatever no other does.
  return ADVICE.find(({ when }) => when(facts))?.advice(facts) ?? '';
}

/** Whether capabilities as Vault lists them allow this. */
export function mayDo(granted: readonly string[], capability: 'read' | 'update'): boolean {
  return granted.includes(capability) || granted.includes('root');
}

/**
 * Whether a refused login may count for a lock-out: AppRole and userpass count wrong credentials,
 * which they answer with 400, and never what they answer for other reasons. Where the user is locked
 * out already they answer 403, and count no more (vault/request_handling.go).
 */
export function countsForLockout(status: number, words: string): boolean {
  return status === 400 && !/CIDR|source address|missing/i.test(words);
}
