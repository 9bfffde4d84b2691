//! Under which reason a refused request is counted.

use crate::http::RequestError;
use crate::metrics::RequestRefusal;

/// Returns the reason that an operator reads; several errors of the parser share one.
pub(super) const fn reason(error: RequestError) -> RequestRefusal {
    use RequestError as E;
    match error {
        E::HeadTooLong => RequestRefusal::HeadTooLong,
        E::TargetTooLong => RequestRefusal::TargetTooLong,
        E::TooManyFields => RequestRefusal::TooManyFields,
        E::BareLf | E::BareCr | E::Nul | E::EmptyLines | E::Unterminated => RequestRefusal::LineEnd,
        E::RequestLine => RequestRefusal::RequestLine,
        E::MethodUnknown => RequestRefusal::Method,
        E::Target => RequestRefusal::Target,
        E::Version => RequestRefusal::Version,
        E::FoldedField | E::FieldName | E::FieldValue => RequestRefusal::Field,
        E::FieldRepeated => RequestRefusal::FieldRepeated,
        E::HostMissing | E::HostInvalid => RequestRefusal::Host,
        E::ContentLength => RequestRefusal::ContentLength,
        E::FramingAmbiguous | E::TransferEncodingInHttp10 | E::TransferCodingUnknown => {
            RequestRefusal::Framing
        }
        E::Expectation => RequestRefusal::Expectation,
    }
}
