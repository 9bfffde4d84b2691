//! Why clients were refused or given up on: the values of the `reason` and `kind` labels.
//!
//! Names here are an interface to dashboards and alerts: a new one may come, none may change its meaning.

/// Declares an enum whose variants are label values, with all of them in the order of their index.
macro_rules! labels {
    (
        $(#[$about:meta])*
        $name:ident { $($(#[$doc:meta])* $variant:ident => $label:literal,)+ }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// All of them, in the order of their index.
            pub const ALL: [Self; [$($label),+].len()] = [$(Self::$variant),+];

            /// Returns the value of the label.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }
        }
    };
}

labels! {
    /// Why a connection was closed at once.
    ConnectionRefusal {
        /// There were as many as `connections_max` allows.
        Total => "total",
        /// Its address had as many as `connections_per_address_max` allows.
        Address => "address",
    }
}

labels! {
    /// Why a request was refused for its form alone, without a look at what it asks for.
    RequestRefusal {
        /// Its head was too long.
        HeadTooLong => "head_too_long",
        /// Its target or first line was too long.
        TargetTooLong => "target_too_long",
        /// Its head had too many fields.
        TooManyFields => "too_many_fields",
        /// Bare CR or LF, a zero byte, empty lines before it.
        LineEnd => "line_end",
        /// Its first line was none.
        RequestLine => "request_line",
        /// A method that nothing here knows.
        Method => "method",
        /// Bytes or forms that no target has.
        Target => "target",
        /// A version that is not served.
        Version => "version",
        /// A malformed or folded field.
        Field => "field",
        /// A field twice that may come once.
        FieldRepeated => "field_repeated",
        /// `Host` missing or malformed.
        Host => "host",
        /// A `Content-Length` that is none.
        ContentLength => "content_length",
        /// Two framings at once, or a transfer coding other than chunked: what smuggling is made of.
        Framing => "framing",
        /// An expectation other than `100-continue`.
        Expectation => "expectation",
        /// A malformed chunked body. The response had been sent; the connection was closed.
        Body => "body",
        /// A chunked body longer than is read to keep a connection; closed after the response.
        BodyTooLong => "body_too_long",
        /// A path that is no route, or a malformed name, tag or digest in one.
        Path => "path",
        /// A query that two readers could read differently.
        Query => "query",
        /// More ranges than are served at once.
        Ranges => "ranges",
    }
}

labels! {
    /// Which deadline a client let pass.
    DeadlinePassed {
        /// No next request on a connection that was kept. Every client that is done comes to this.
        Idle => "idle",
        /// A request head that did not end.
        Head => "head",
        /// A request body that did not end.
        Body => "body",
        /// A response of which the client took nothing.
        Send => "send",
        /// A TLS handshake that did not end.
        Handshake => "handshake",
    }
}

labels! {
    /// Whose fault it was that a response failed or ended short of its length.
    Fault {
        /// It asked for what nobody can serve, left, or took nothing.
        Client => "client",
        /// The next hops gave no answer, broke off, or sent something else.
        Upstream => "upstream",
        /// The store's disk failed.
        Disk => "disk",
        /// Too many at once, no memory or descriptors, or a bug.
        Us => "us",
    }
}

impl Fault {
    /// Says whose fault a response of this status is, where nothing more is known; `None` where it is an answer
    /// like another. 401, 403 and 404 are answers: logins and absent tags are daily business.
    #[must_use]
    pub const fn of_status(status: u16) -> Option<Self> {
        match status {
            0..=399 | 401 | 403 | 404 => None,
            400..=499 => Some(Self::Client),
            502 | 504 | 508 => Some(Self::Upstream),
            _ => Some(Self::Us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_explained_to_the_operator() {
        let limits = include_str!("../../docs/limits.md");
        for reason in RequestRefusal::ALL {
            let label = reason.label();
            let told = [format!("`{label}`"), format!("{{reason=\"{label}\"}}")];
            assert!(told.iter().any(|told| limits.contains(told)), "{label}");
        }
        for reason in ConnectionRefusal::ALL {
            let told = format!("connections_refused_total{{reason=\"{}\"}}", reason.label());
            assert!(limits.contains(&told), "{told}");
        }
        for kind in DeadlinePassed::ALL {
            let told = format!("deadlines_passed_total{{kind=\"{}\"}}", kind.label());
            assert!(limits.contains(&told), "{told}");
        }
    }
}
