//! Keys of certificates, and the chains that tokens bring along.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, date_time_ymd,
};
use serde_json::{Value, json};

use crate::auth::testing::{NOW, Signer, encode, registry_claims};
use crate::auth::{Algorithms, KeySet, KeySetError, Refusal, RegistryToken, Unusable};
use crate::limits::{KEY_SET_BYTES_MAX, TOKEN_CERTIFICATES_MAX};

/// The body of a fuzz target.
pub(crate) fn check_certificates(bytes: &[u8]) {
    if let Ok(keys) = KeySet::from_certificates(bytes) {
        assert!(!keys.is_empty());
        let _ = keys.to_json();
    }
}

fn params(is_ca: IsCa) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["auth.example".to_owned()]).unwrap();
    params.is_ca = is_ca;
    // NOW is in 2027.
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2028, 1, 1);
    params
}

fn authority() -> CertificateParams {
    params(IsCa::Ca(BasicConstraints::Unconstrained))
}

fn self_signed(signer: &Signer, params: &CertificateParams) -> Certificate {
    params.self_signed(&signer.for_certificates()).unwrap()
}

/// Returns a certificate for `signer` by the issuer of `by`.
fn issued(
    signer: &Signer,
    params: &CertificateParams,
    by: (&CertificateParams, &Signer),
) -> Certificate {
    let issuer = Issuer::new(by.0.clone(), by.1.for_certificates());
    params
        .signed_by(&signer.for_certificates(), &issuer)
        .unwrap()
}

fn chain(certificates: &[&Certificate]) -> Value {
    certificates
        .iter()
        .map(|certificate| STANDARD.encode(certificate.der()))
        .collect()
}

fn check_at(token: &str, keys: &KeySet, now: u64) -> Option<Refusal> {
    RegistryToken::check(
        token,
        keys,
        Algorithms::REGISTRY_TOKEN,
        now,
        0,
        "auth.example",
        "registry.example",
    )
    .err()
}

/// Returns what is said to a token that `signer` signed and whose header has this chain.
fn check_chain(signer: &Signer, chain: &Value, keys: &KeySet) -> Option<Refusal> {
    let header = json!({"alg": signer.algorithm, "x5c": chain});
    check_at(&signer.mint(&header, &registry_claims()), keys, NOW)
}

/// Computes libtrust's identifier bit by bit, from the PEM of a public key.
fn libtrust_id(signer: &Signer) -> String {
    let pem = signer.for_certificates().public_key_pem();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let hash =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &STANDARD.decode(body).unwrap());
    let bits: String = hash.as_ref()[..30]
        .iter()
        .map(|byte| format!("{byte:08b}"))
        .collect();
    let digits: Vec<_> = bits
        .as_bytes()
        .chunks(5)
        .map(|five| {
            let value = u8::from_str_radix(str::from_utf8(five).unwrap(), 2).unwrap();
            char::from(if value < 26 {
                b'A' + value
            } else {
                b'2' + value - 26
            })
        })
        .collect();
    let groups: Vec<String> = digits.chunks(4).map(|four| four.iter().collect()).collect();
    groups.join(":")
}

#[test]
fn a_bundles_keys_are_called_as_token_servers_call_them() {
    let signers = [
        Signer::rsa(""),
        Signer::p256(""),
        Signer::p384(""),
        Signer::ed25519(""),
    ];
    for signer in &signers {
        let pem = self_signed(signer, &authority()).pem();
        let keys = KeySet::from_certificates(pem.as_bytes()).unwrap();
        let thumbprint = KeySet::parse(json!({"keys": [signer.jwk()]}).to_string().as_bytes())
            .unwrap()
            .to_json();
        let thumbprint: Value = serde_json::from_str(&thumbprint).unwrap();
        let thumbprint = thumbprint["keys"][0]["kid"].as_str().unwrap().to_owned();
        let libtrust = libtrust_id(signer);
        assert_eq!(libtrust.len(), 59);
        for kid in [libtrust, thumbprint] {
            assert!(keys.contains(&kid), "{kid}");
            let header = json!({"alg": signer.algorithm, "kid": kid});
            let token = signer.mint(&header, &registry_claims());
            assert_eq!(check_at(&token, &keys, NOW), None, "{kid}");
            let nested = json!({"alg": signer.algorithm, "jwk": {"kid": kid}});
            let token = signer.mint(&nested, &registry_claims());
            assert_eq!(check_at(&token, &keys, NOW), None, "{kid}");
            // Whoever is named in the bundle is trusted whenever its certificate was made.
            let mut claims = registry_claims();
            (claims["exp"], claims["nbf"], claims["iat"]) = (json!(1000), json!(0), json!(0));
            assert_eq!(check_at(&signer.mint(&header, &claims), &keys, 999), None);
        }
        let token = signer.mint(&json!({"alg": signer.algorithm}), &registry_claims());
        assert_eq!(check_at(&token, &keys, NOW), None);
        let token = signer.mint(
            &json!({"alg": signer.algorithm, "kid": "?"}),
            &registry_claims(),
        );
        assert_eq!(check_at(&token, &keys, NOW), Some(Refusal::KeyUnknown));
        // Relayed, it has both names.
        assert_eq!(KeySet::parse(keys.to_json().as_bytes()).unwrap().len(), 2);
    }
}

#[test]
fn a_chain_counts_if_it_leads_to_the_bundle() {
    let (root, middle, leaf) = (Signer::p384(""), Signer::rsa(""), Signer::p256(""));
    let root_params = authority();
    let root_certificate = self_signed(&root, &root_params);
    let middle_params = authority();
    let middle_certificate = issued(&middle, &middle_params, (&root_params, &root));
    let direct = issued(&leaf, &params(IsCa::NoCa), (&root_params, &root));
    let by_middle = issued(&leaf, &params(IsCa::NoCa), (&middle_params, &middle));
    let keys = KeySet::from_certificates(root_certificate.pem().as_bytes()).unwrap();
    assert_eq!(check_chain(&leaf, &chain(&[&direct]), &keys), None);
    assert_eq!(
        check_chain(&leaf, &chain(&[&direct, &root_certificate]), &keys),
        None
    );
    assert_eq!(
        check_chain(&leaf, &chain(&[&by_middle, &middle_certificate]), &keys),
        None
    );
    assert_eq!(
        check_chain(&root, &chain(&[&root_certificate]), &keys),
        None
    );
    // With nothing between the leaf and the root, with the wrong leaf first, with nothing at all.
    let unknown = Some(Refusal::KeyUnknown);
    assert_eq!(check_chain(&leaf, &chain(&[&by_middle]), &keys), unknown);
    assert_eq!(
        check_chain(&leaf, &chain(&[&middle_certificate, &by_middle]), &keys),
        unknown
    );
    assert_eq!(check_chain(&leaf, &json!(["", "x"]), &keys), unknown);
    assert_eq!(
        check_chain(&leaf, &json!([encode(direct.der())]), &keys),
        unknown
    );
    let many = vec![&direct; TOKEN_CERTIFICATES_MAX + 1];
    assert_eq!(check_chain(&leaf, &chain(&many), &keys), unknown);
    // Signed by somebody else than the leaf, or as the leaf's key does not sign.
    assert_eq!(
        check_chain(&Signer::p256(""), &chain(&[&direct]), &keys),
        Some(Refusal::Signature)
    );
    assert_eq!(
        check_chain(&Signer::ed25519(""), &chain(&[&direct]), &keys),
        Some(Refusal::Algorithm)
    );
    // In the header's key, as libtrust writes it.
    let header = json!({"alg": "ES256", "jwk": {"kid": "?", "x5c": chain(&[&direct])}});
    let token = leaf.mint(&header, &registry_claims());
    assert_eq!(check_at(&token, &keys, NOW), None);
    // A set without certificates trusts no chain.
    let keys = KeySet::parse(json!({"keys": [root.jwk()]}).to_string().as_bytes()).unwrap();
    assert_eq!(check_chain(&leaf, &chain(&[&direct]), &keys), unknown);
}

#[test]
fn a_chain_of_strangers_or_of_those_who_may_not_issue_does_not_count() {
    let (root, other, leaf) = (Signer::p384(""), Signer::p384(""), Signer::p256(""));
    let unknown = Some(Refusal::KeyUnknown);
    let trust = |certificate: &Certificate| {
        KeySet::from_certificates(certificate.pem().as_bytes()).unwrap()
    };
    let keys = trust(&self_signed(&root, &authority()));
    // The same name, another key.
    let strange = issued(&leaf, &params(IsCa::NoCa), (&authority(), &other));
    assert_eq!(check_chain(&leaf, &chain(&[&strange]), &keys), unknown);
    let own = self_signed(&leaf, &authority());
    assert_eq!(check_chain(&leaf, &chain(&[&own]), &keys), unknown);
    // A bundle's certificate that is no authority, or one for other things.
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let end = params(is_ca);
        let keys = trust(&self_signed(&root, &end));
        let certificate = issued(&leaf, &params(IsCa::NoCa), (&end, &root));
        assert_eq!(check_chain(&leaf, &chain(&[&certificate]), &keys), unknown);
    }
    let mut for_signatures = authority();
    for_signatures.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let keys = trust(&self_signed(&root, &for_signatures));
    let certificate = issued(&leaf, &params(IsCa::NoCa), (&for_signatures, &root));
    assert_eq!(check_chain(&leaf, &chain(&[&certificate]), &keys), unknown);
    // An end entity that plays the authority in the middle.
    let keys = trust(&self_signed(&root, &authority()));
    let end = params(IsCa::NoCa);
    let end_certificate = issued(&other, &end, (&authority(), &root));
    let certificate = issued(&leaf, &params(IsCa::NoCa), (&end, &other));
    assert_eq!(
        check_chain(&leaf, &chain(&[&certificate, &end_certificate]), &keys),
        unknown
    );
    // For somebody else's purposes.
    for (usage, expected) in [
        (ExtendedKeyUsagePurpose::ServerAuth, None),
        (ExtendedKeyUsagePurpose::CodeSigning, unknown),
    ] {
        let mut purposes = params(IsCa::NoCa);
        purposes.extended_key_usages = vec![usage];
        let certificate = issued(&leaf, &purposes, (&authority(), &root));
        assert_eq!(check_chain(&leaf, &chain(&[&certificate]), &keys), expected);
    }
}

#[test]
fn a_chain_counts_while_its_certificates_do() {
    let (root, leaf) = (Signer::p384(""), Signer::p256(""));
    let keys =
        KeySet::from_certificates(self_signed(&root, &authority()).pem().as_bytes()).unwrap();
    let certificate = issued(&leaf, &params(IsCa::NoCa), (&authority(), &root));
    let header = json!({"alg": "ES256", "x5c": chain(&[&certificate])});
    let mut claims = registry_claims();
    (claims["nbf"], claims["iat"], claims["exp"]) = (json!(0), json!(0), json!(9_000_000_000_u64));
    let token = leaf.mint(&header, &claims);
    // 2026-01-01 and 2028-01-01.
    for (now, expected) in [
        (1_767_225_599, Some(Refusal::KeyUnknown)),
        (1_767_225_600, None),
        (1_830_297_600, None),
        (1_830_297_601, Some(Refusal::KeyUnknown)),
        (u64::MAX, Some(Refusal::KeyUnknown)),
    ] {
        assert_eq!(check_at(&token, &keys, now), expected, "{now}");
    }
}

#[test]
fn a_bundle_is_read_past_what_is_no_key_of_ours() {
    let (p256, rsa) = (Signer::p256(""), Signer::rsa(""));
    let p521 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA256).unwrap();
    let bundle = format!(
        "# comment\n{}{}text\n{}{}",
        self_signed(&p256, &authority()).pem(),
        p521.serialize_pem(),
        authority().self_signed(&p521).unwrap().pem(),
        self_signed(&rsa, &authority()).pem(),
    );
    let keys = KeySet::from_certificates(bundle.as_bytes()).unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys.skipped()[0].index, 1);
    assert_eq!(keys.skipped()[0].reason, Unusable::Kind);
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let keys = KeySet::from_certificates(format!("{bundle}{garbage}").as_bytes()).unwrap();
    assert_eq!(keys.skipped()[1].reason, Unusable::Malformed);
    for (pem, expected) in [
        ("", KeySetError::NothingUsable(vec![])),
        (&*p521.serialize_pem(), KeySetError::NothingUsable(vec![])),
        (
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            KeySetError::Pem,
        ),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", KeySetError::Pem),
        (&*" ".repeat(KEY_SET_BYTES_MAX + 1), KeySetError::TooLong),
    ] {
        assert_eq!(
            KeySet::from_certificates(pem.as_bytes()).unwrap_err(),
            expected
        );
    }
    // Bundle and JWK set together, as a configuration may have both.
    let ed = Signer::ed25519("ed");
    let both = keys.and(crate::auth::testing::key_set(&[&ed]));
    assert!(both.contains("ed") && both.contains(&libtrust_id(&p256)));
    let leaf = issued(&ed, &params(IsCa::NoCa), (&authority(), &p256));
    assert_eq!(check_chain(&ed, &chain(&[&leaf]), &both), None);
}

proptest! {
    #[test]
    fn no_bundle_and_no_chain_makes_the_reader_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        check_certificates(&bytes);
        let signer = Signer::p256("");
        let certificate = self_signed(&signer, &authority());
        let mut der = certificate.der().to_vec();
        let place = place.index(der.len());
        der[place] = byte;
        let changed = STANDARD.encode(&der);
        check_certificates(
            format!("-----BEGIN CERTIFICATE-----\n{changed}\n-----END CERTIFICATE-----\n").as_bytes(),
        );
        let keys = KeySet::from_certificates(certificate.pem().as_bytes()).unwrap();
        let expected = (der != certificate.der().to_vec()).then_some(Refusal::KeyUnknown);
        prop_assert_eq!(check_chain(&signer, &json!([changed]), &keys), expected);
    }
}
