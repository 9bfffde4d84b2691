//! Forms, headers and signatures of tokens.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::auth::testing::{NOW, Signer, encode, key_set, signed_url_claims};
use crate::auth::{Algorithms, KeySet, Refusal, Secret, SignedUrl, claimed_key, verify};
use crate::limits::{TOKEN_BYTES_MAX, TOKEN_KEYS_TRIED_MAX};

const ANY: Algorithms = Algorithms::SIGNED_URL.or(Algorithms::REGISTRY_TOKEN);

/// The body of a fuzz target: bytes that nobody signed are never a token, and never panic.
pub(crate) fn check_token(bytes: &[u8]) {
    let secret = Secret::new("a secret that no input will ever guess");
    let keys = key_set(&[&fixed()]).with_secret(&secret).unwrap();
    let text = String::from_utf8_lossy(bytes);
    assert!(verify(&text, &keys, ANY, NOW).is_err());
    if let Some(kid) = claimed_key(&text) {
        assert!(kid.len() <= 64 && kid.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

/// A signer whose key nobody kept.
fn fixed() -> Signer {
    Signer::ed25519("k")
}

fn refusal(token: &str, keys: &KeySet) -> Option<Refusal> {
    verify(token, keys, ANY, NOW).err()
}

#[test]
fn each_algorithm_is_proved_with_the_key_that_fits_it() {
    let claims = signed_url_claims();
    let signers = [
        Signer::ed25519("ed"),
        Signer::p256("p256"),
        Signer::p384("p384"),
        Signer::rsa("rsa"),
    ];
    let keys = key_set(&signers.each_ref());
    for signer in &signers {
        assert_eq!(
            refusal(&signer.token(&claims), &keys),
            None,
            "{}",
            signer.algorithm
        );
    }
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        let header = json!({"alg": algorithm, "kid": "rsa"});
        assert_eq!(
            refusal(&signers[3].mint(&header, &claims), &keys),
            None,
            "{algorithm}"
        );
    }
    // RFC 9864: another name of the same algorithm.
    let header = json!({"alg": "Ed25519", "kid": "ed"});
    assert_eq!(refusal(&signers[0].mint(&header, &claims), &keys), None);
}

#[test]
fn the_example_of_rfc_8037_is_proved() {
    let keys = KeySet::parse(
        br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    )
    .unwrap();
    let key = keys.public().next().unwrap();
    let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt\
                     9g7sVvpAr_MuM0KAg";
    assert!(key.verifies(jsonwebtoken::Algorithm::EdDSA, signed, signature));
    // Its payload is text, so it is a signature and no token.
    let token = format!("{signed}.{signature}");
    assert_eq!(refusal(&token, &keys), Some(Refusal::Malformed));
    assert!(keys.contains("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
}

#[test]
fn a_token_without_a_signature_is_never_believed() {
    let keys = key_set(&[&fixed()]);
    let claims = encode(signed_url_claims().to_string());
    for algorithm in [
        "none", "None", "NONE", "nOnE", "", "eddsa", "HS384", "HS512", "ES512",
    ] {
        for kid in [json!({}), json!({"kid": "k"})] {
            let mut header = kid;
            header["alg"] = algorithm.into();
            let header = encode(header.to_string());
            for signature in ["", "AA"] {
                let token = format!("{header}.{claims}.{signature}");
                assert_eq!(
                    refusal(&token, &keys),
                    Some(Refusal::Algorithm),
                    "{algorithm}"
                );
            }
        }
    }
    let unsigned = format!("{}.{claims}.", encode(r#"{"alg":"EdDSA","kid":"k"}"#));
    assert_eq!(refusal(&unsigned, &keys), Some(Refusal::Signature));
    for header in [
        "{}",
        r#"{"kid":"k"}"#,
        r#"{"alg":null}"#,
        r#"{"alg":1}"#,
        "null",
        "\"EdDSA\"",
    ] {
        let token = format!("{}.{claims}.AA", encode(header));
        assert_eq!(refusal(&token, &keys), Some(Refusal::Malformed), "{header}");
    }
}

#[test]
fn a_public_key_is_never_the_secret_of_an_hmac() {
    let claims = signed_url_claims();
    let secret = Secret::new("0123456789abcdef0123456789abcdef");
    for signer in [Signer::ed25519("k"), Signer::p256("k"), Signer::rsa("k")] {
        let keys = key_set(&[&signer]);
        let pem = signer.for_certificates().public_key_pem();
        let jwk = signer.jwk();
        let guesses = [
            signer.public(),
            pem.clone().into_bytes(),
            pem.trim_end().as_bytes().to_vec(),
            jwk.to_string().into_bytes(),
            jwk["x"].as_str().unwrap_or_default().as_bytes().to_vec(),
            Vec::new(),
        ];
        for guess in guesses {
            let forger = Signer::secret(&guess);
            for header in [json!({"alg": "HS256", "kid": "k"}), json!({"alg": "HS256"})] {
                let token = forger.mint(&header, &claims);
                assert_eq!(refusal(&token, &keys), Some(Refusal::Algorithm));
                let keys = keys.clone().with_secret(&secret).unwrap();
                assert_eq!(refusal(&token, &keys), Some(Refusal::Signature));
            }
        }
    }
}

#[test]
fn the_secret_proves_hs256_and_nothing_else() {
    let claims = signed_url_claims();
    let text = "0123456789abcdef0123456789abcdef";
    let keys = KeySet::default().with_secret(&Secret::new(text)).unwrap();
    let signer = Signer::secret(text.as_bytes());
    assert_eq!(refusal(&signer.token(&claims), &keys), None);
    // Its name does not matter.
    let named = signer.mint(&json!({"alg": "HS256", "kid": "any"}), &claims);
    assert_eq!(refusal(&named, &keys), None);
    let other = Signer::secret(b"0123456789abcdef0123456789abcdeF");
    assert_eq!(
        refusal(&other.token(&claims), &keys),
        Some(Refusal::Signature)
    );
    for algorithm in ["EdDSA", "ES256", "RS256"] {
        let token = signer.mint(&json!({"alg": algorithm, "kid": "any"}), &claims);
        assert_eq!(
            refusal(&token, &keys),
            Some(Refusal::KeyUnknown),
            "{algorithm}"
        );
    }
    let registry = verify(&named, &keys, Algorithms::REGISTRY_TOKEN, NOW);
    assert_eq!(registry.unwrap_err(), Refusal::Algorithm);
}

#[test]
fn a_key_proves_only_what_it_fits() {
    let claims = signed_url_claims();
    let (ed, p256, p384) = (
        Signer::ed25519("ed"),
        Signer::p256("p256"),
        Signer::p384("p384"),
    );
    let keys = key_set(&[&ed, &p256, &p384]);
    for (signer, algorithm, kid) in [
        (&ed, "EdDSA", "p256"),
        (&p256, "ES256", "ed"),
        (&p256, "ES256", "p384"),
        (&p384, "ES384", "p256"),
        (&p256, "RS256", "p256"),
    ] {
        let token = signer.mint(&json!({"alg": algorithm, "kid": kid}), &claims);
        assert_eq!(
            refusal(&token, &keys),
            Some(Refusal::Algorithm),
            "{algorithm} {kid}"
        );
    }
    // A header that lies about the algorithm of its own key.
    let token = ed.mint_text(
        "EdDSA",
        r#"{"alg":"ES256","kid":"p256"}"#,
        &claims.to_string(),
    );
    assert_eq!(refusal(&token, &keys), Some(Refusal::Signature));
    // `alg` of a JWK narrows it.
    let rsa = Signer::rsa("rsa");
    let mut jwk = rsa.jwk();
    jwk["alg"] = "RS512".into();
    let keys = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap();
    assert_eq!(
        refusal(&rsa.token(&claims), &keys),
        Some(Refusal::Algorithm)
    );
    let token = rsa.mint(&json!({"alg": "RS512", "kid": "rsa"}), &claims);
    assert_eq!(refusal(&token, &keys), None);
}

#[test]
fn an_unknown_key_is_told_from_a_wrong_signature() {
    let claims = signed_url_claims();
    let (old, new) = (Signer::ed25519("old"), Signer::ed25519("new"));
    let keys = key_set(&[&old]);
    let token = new.token(&claims);
    assert_eq!(refusal(&token, &keys), Some(Refusal::KeyUnknown));
    assert_eq!(claimed_key(&token).as_deref(), Some("new"));
    let pretending = Signer::ed25519("old").token(&claims);
    assert_eq!(refusal(&pretending, &keys), Some(Refusal::Signature));
    assert_eq!(
        refusal(&token, &KeySet::default()),
        Some(Refusal::KeyUnknown)
    );
    // While keys are rotated, both count.
    let both = key_set(&[&old, &new]);
    assert_eq!(refusal(&token, &both), None);
    assert_eq!(refusal(&old.token(&claims), &both), None);
    assert_eq!(refusal(&token, &keys.and(key_set(&[&new]))), None);
}

#[test]
fn keys_of_one_name_and_tokens_without_one_are_tried_in_turn_and_not_without_end() {
    let claims = signed_url_claims();
    let signers: Vec<_> = (0..=TOKEN_KEYS_TRIED_MAX)
        .map(|_| Signer::ed25519("same"))
        .collect();
    let p256 = Signer::p256("other");
    let set: Vec<_> = std::iter::once(&p256).chain(&signers).collect();
    let keys = key_set(&set);
    for header in [
        json!({"alg": "EdDSA", "kid": "same"}),
        json!({"alg": "EdDSA"}),
    ] {
        for (index, signer) in signers.iter().enumerate() {
            let token = signer.mint(&header, &claims);
            let tried = index < TOKEN_KEYS_TRIED_MAX;
            let expected = (!tried).then_some(Refusal::Signature);
            assert_eq!(refusal(&token, &keys), expected, "{index}");
        }
    }
    let rsa = Signer::rsa("").token(&claims);
    assert_eq!(refusal(&rsa, &keys), Some(Refusal::KeyUnknown));
}

#[test]
fn a_header_that_asks_for_more_than_is_understood_is_refused() {
    let signer = Signer::ed25519("k");
    let keys = key_set(&[&signer]);
    let claims = signed_url_claims().to_string();
    for (header, expected) in [
        (r#"{"alg":"EdDSA","kid":"k"}"#, None),
        (
            r#"{"alg":"EdDSA","kid":"k","typ":"jwt","cty":"x","zip":"DEF","more":[{}]}"#,
            None,
        ),
        (
            r#"{"alg":"EdDSA","kid":"k","crit":["exp"]}"#,
            Some(Refusal::Malformed),
        ),
        (
            r#"{"alg":"EdDSA","kid":"k","crit":[]}"#,
            Some(Refusal::Malformed),
        ),
        (
            r#"{"alg":"EdDSA","kid":"k","crit":null}"#,
            Some(Refusal::Malformed),
        ),
        (
            r#"{"alg":"EdDSA","kid":"k","b64":false,"crit":["b64"]}"#,
            Some(Refusal::Malformed),
        ),
        (
            r#"{"alg":"EdDSA","kid":"k","typ":"at+jwt"}"#,
            Some(Refusal::Malformed),
        ),
        (
            r#"{"alg":"EdDSA","kid":"k","typ":1}"#,
            Some(Refusal::Malformed),
        ),
        (r#"{"alg":"EdDSA","kid":1}"#, Some(Refusal::Malformed)),
        (
            r#"{"alg":"none","alg":"EdDSA","kid":"k"}"#,
            Some(Refusal::Malformed),
        ),
        (
            r#"{"alg":"EdDSA","kid":"k","kid":"k"}"#,
            Some(Refusal::Malformed),
        ),
        (r#"["EdDSA","JWT","k",null,null]"#, Some(Refusal::Malformed)),
        (r#"{"alg":"EdDSA","kid":"k"}x"#, Some(Refusal::Malformed)),
        ("", Some(Refusal::Malformed)),
        (
            "{\"alg\":\"EdDSA\",\"kid\":\"\u{1}\"}",
            Some(Refusal::Malformed),
        ),
    ] {
        let token = signer.mint_text("EdDSA", header, &claims);
        assert_eq!(refusal(&token, &keys), expected, "{header}");
    }
}

#[test]
fn a_key_that_a_header_brings_along_proves_nothing() {
    let (known, forger) = (Signer::ed25519("known"), Signer::ed25519("forger"));
    let keys = key_set(&[&known]);
    let mint = |signer: &Signer, jwk: Value| {
        signer.mint(&json!({"alg": "EdDSA", "jwk": jwk}), &signed_url_claims())
    };
    // Its name leads to the key of the set, and that one has to have signed.
    assert_eq!(refusal(&mint(&known, known.jwk()), &keys), None);
    assert_eq!(
        refusal(&mint(&known, forger.jwk()), &keys),
        Some(Refusal::KeyUnknown)
    );
    assert_eq!(
        refusal(&mint(&forger, forger.jwk()), &keys),
        Some(Refusal::KeyUnknown)
    );
    let mut renamed = forger.jwk();
    renamed["kid"] = "known".into();
    assert_eq!(
        refusal(&mint(&forger, renamed), &keys),
        Some(Refusal::Signature)
    );
}

#[test]
fn a_token_has_three_parts_of_canonical_base64() {
    let signer = Signer::ed25519("k");
    let keys = key_set(&[&signer]);
    let token = signer.token(&signed_url_claims());
    assert_eq!(refusal(&token, &keys), None);
    let [header, claims, signature]: [&str; 3] =
        token.split('.').collect::<Vec<_>>().try_into().unwrap();
    for bad in [
        String::new(),
        "..".to_owned(),
        header.to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}.{signature}"),
        format!("{header}..{claims}.{signature}"),
        format!(".{token}"),
        format!("{token}."),
        format!("{token}="),
        format!("{token}=="),
        format!("{token} "),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}.{}", &signature[..85]),
        format!("{header}.{claims}.é"),
        format!("{header}.{claims}.{}", signature.replace(['-', '_'], "+")) + "+",
    ] {
        assert_eq!(refusal(&bad, &keys), Some(Refusal::Malformed), "{bad}");
    }
    for bad in [
        format!("{header}.{claims}."),
        format!("{header}.{claims}.{}", &signature[..84]),
        format!("{header}.{claims}.{signature}AA"),
        format!("{header}.{claims}AA.{signature}"),
        format!("{header}.{claims}=.{signature}"),
        format!("{header}..{signature}"),
    ] {
        assert_eq!(refusal(&bad, &keys), Some(Refusal::Signature), "{bad}");
    }
    // Signed, and no claims.
    for text in [
        "",
        "null",
        "[]",
        "x",
        "{",
        "{}",
        "[\"i\",\"s\",[],1,1,1,\"\",[],\"\"]",
    ] {
        let token = signer.mint_text("EdDSA", &signer.header().to_string(), text);
        assert_eq!(refusal(&token, &keys), Some(Refusal::Malformed), "{text}");
    }
}

#[test]
fn a_token_that_is_too_long_is_not_even_read() {
    let signer = Signer::ed25519("k");
    let keys = key_set(&[&signer]);
    let mut claims = signed_url_claims();
    let of_padding = |bytes: usize| {
        claims["padding"] = "x".repeat(bytes).into();
        signer.token(&claims)
    };
    let tokens: Vec<_> = (5_000..6_000).map(of_padding).collect();
    let longest = tokens
        .iter()
        .rfind(|token| token.len() <= TOKEN_BYTES_MAX)
        .unwrap();
    assert!(longest.len() >= TOKEN_BYTES_MAX - 1);
    assert_eq!(refusal(longest, &keys), None);
    let longer = tokens
        .iter()
        .find(|token| token.len() > TOKEN_BYTES_MAX)
        .unwrap();
    assert_eq!(refusal(longer, &keys), Some(Refusal::Malformed));
    assert_eq!(
        refusal(&"a.".repeat(10_000_000), &keys),
        Some(Refusal::Malformed)
    );
    let deep = signer.mint_text("EdDSA", &signer.header().to_string(), &"[".repeat(4_000));
    assert_eq!(refusal(&deep, &keys), Some(Refusal::Malformed));
    let deep = format!(r#"{{"exp":1,"x":{}"#, "{\"x\":".repeat(900));
    let deep = signer.mint_text("EdDSA", &signer.header().to_string(), &deep);
    assert_eq!(refusal(&deep, &keys), Some(Refusal::Malformed));
}

proptest! {
    #[test]
    fn one_changed_character_makes_any_token_worthless(
        place in any::<prop::sample::Index>(),
        with in prop::char::range(' ', '~'),
        kind in 0..5_usize,
    ) {
        let signer = match kind {
            0 => Signer::ed25519("k"),
            1 => Signer::p256("k"),
            2 => Signer::p384("k"),
            3 => Signer::rsa("k"),
            _ => Signer::secret(b"0123456789abcdef0123456789abcdef"),
        };
        let keys = if kind == 4 { KeySet::default() } else { key_set(&[&signer]) };
        let secret = Secret::new("0123456789abcdef0123456789abcdef");
        let keys = keys.with_secret(&secret).unwrap();
        let token = signer.token(&signed_url_claims());
        prop_assert_eq!(refusal(&token, &keys), None);
        let mut changed = token.clone().into_bytes();
        changed[place.index(token.len())] = u8::try_from(with).unwrap();
        let changed = String::from_utf8(changed).unwrap();
        prop_assert_eq!(refusal(&changed, &keys).is_some(), changed != token);
        let cut = &token[..place.index(token.len())];
        prop_assert!(refusal(cut, &keys).is_some());
    }

    #[test]
    fn no_token_makes_the_reader_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        header in "\\{(\"(alg|kid|typ|crit|x5c|jwk)\":(\"[A-Za-z0-9]{0,6}\"|\\[\\]|null|\\{\\}),?){0,4}\\}",
        algorithm in "EdDSA|HS256|ES256|RS256|none",
        claims in "\\PC{0,20}",
        signature in prop::collection::vec(any::<u8>(), 0..70),
    ) {
        check_token(&bytes);
        let signature = encode(signature);
        check_token(format!("{}.{}.{signature}", encode(header), encode(&claims)).as_bytes());
        for header in [
            json!({"alg": algorithm, "kid": "k"}),
            json!({"alg": algorithm, "x5c": [claims]}),
        ] {
            check_token(format!("{}.e30.{signature}", encode(header.to_string())).as_bytes());
        }
    }

    #[test]
    fn whatever_is_signed_nothing_panics(claims in "\\{(\"(exp|aud|access|digest|nbf)\":(1|-1|1e9|\"transship\"|null|\\[\\]),?){0,5}\\}") {
        let signer = Signer::ed25519("k");
        let token = signer.mint_text("EdDSA", &signer.header().to_string(), &claims);
        let keys = key_set(&[&signer]);
        let name = crate::registry::Name::parse("a").unwrap();
        let _ = SignedUrl::check(&token, &keys, NOW, 0, name, &crate::auth::testing::blob());
    }
}
