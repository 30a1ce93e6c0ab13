//! Draws a QR code as a picture.

use axum::body::Body;
use axum::http::Response;
use fast_qr::convert::Builder;
use fast_qr::convert::svg::SvgBuilder;
use fast_qr::qr::{QRBuilder, QRCode};

use crate::answer::typed;

/// The two kinds of pictures.
pub(crate) const PNG: &str = "image/png";
pub(crate) const SVG: &str = "image/svg+xml";

/// Light modules around the code, as many as a scanner may count on (ISO/IEC 18004).
const QUIET: usize = 4;
/// Pixels per module of the PNG.
const SCALE: usize = 8;

/// The text as a picture.
///
/// # Errors
/// When the text is too long for a QR code or the picture cannot be written, which no
/// provisioning URI is.
pub(crate) fn draw(text: &str, as_svg: bool) -> Result<Response<Body>, app::Error> {
    let broken = |what: String| app::Error::Internal(what.into());
    let code = QRBuilder::new(text.as_bytes()).build();
    let code = code.map_err(|error| broken(format!("no QR code: {error:?}")))?;
    if as_svg {
        let mut svg = SvgBuilder::default();
        svg.margin(QUIET);
        return Ok(typed(SVG, svg.to_str(&code).into()));
    }
    let png = png(&code).map_err(|error| broken(format!("no picture: {error}")))?;
    Ok(typed(PNG, png.into()))
}

/// A bit per pixel, 1 for white.
fn png(code: &QRCode) -> Result<Vec<u8>, png::EncodingError> {
    let side = (code.size + 2 * QUIET) * SCALE;
    let inside = QUIET..QUIET + code.size;
    let is_dark = |x: usize, y: usize| {
        let (row, column) = (y / SCALE, x / SCALE);
        let on_code = inside.contains(&row) && inside.contains(&column);
        on_code && code[row - QUIET][column - QUIET].value()
    };
    let mut rows = Vec::with_capacity(side * side.div_ceil(8));
    for y in 0..side {
        // The scale is that of a byte: a row ends with a whole one.
        for byte in 0..side / 8 {
            let bit = |bit: usize| u8::from(!is_dark(byte * 8 + bit, y)) << (7 - bit);
            rows.push((0..8).map(bit).sum());
        }
    }
    let pixels = u32::try_from(side).unwrap_or(u32::MAX);
    let mut picture = Vec::new();
    let mut encoder = png::Encoder::new(&mut picture, pixels, pixels);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.write_header()?.write_image_data(&rows)?;
    Ok(picture)
}
