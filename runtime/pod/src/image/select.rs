//! Which image of a layout is meant: by tag, then by platform.

use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageIndex, MediaType};

use super::error::ImageError;
use super::layout::Layout;
use super::limits::{NESTED_INDEXES, at_most};

/// Docker's names of what OCI calls an index and a manifest.
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The manifest of the image that is meant.
///
/// # Errors
/// When none has the tag or is for this machine, or several could be meant.
pub(super) fn manifest(layout: &Layout, tag: Option<&str>) -> Result<Descriptor, ImageError> {
    let index: ImageIndex = layout.parse("index.json", &layout.document("index.json")?)?;
    let images: Vec<&Descriptor> = index.manifests().iter().filter(|image| is_image(image)).collect();
    let tags = || images.iter().filter_map(|image| tag_of(image)).map(str::to_owned).collect::<Vec<_>>();
    let mut meant: Vec<&Descriptor> = images.clone();
    if let Some(tag) = tag {
        meant.retain(|image| tag_of(image) == Some(tag));
        if meant.is_empty() {
            return Err(ImageError::UnknownTag {
                image: layout.path.clone(),
                tag: tag.to_owned(),
                tags: tags(),
            });
        }
    }
    if meant.is_empty() {
        return Err(layout.refused("index.json names no image"));
    }
    let found = meant.iter().map(|image| platform(image)).collect();
    meant.retain(|image| is_for_here(image));
    // One image may have several tags.
    let digests: Vec<_> = meant.iter().map(|image| image.digest()).collect();
    let mut n = 0..;
    meant.retain(|image| n.next().is_some_and(|n| !digests[..n].contains(&image.digest())));
    match meant[..] {
        [] => Err(unfit(layout, found)),
        [image] => enter(layout, image.clone()),
        _ => Err(ImageError::Ambiguous { image: layout.path.clone(), n_images: meant.len(), tags: tags() }),
    }
}

/// Follows indexes down to a manifest.
fn enter(layout: &Layout, mut image: Descriptor) -> Result<Descriptor, ImageError> {
    let mut depth = 0;
    while is_index(image.media_type()) {
        depth += 1;
        at_most(depth, NESTED_INDEXES, "indexes within indexes")
            .map_err(|source| layout.limit("index.json", source))?;
        let what = format!("the index {}", image.digest());
        let index: ImageIndex = layout.parse(&what, &layout.verified(&image, &what)?)?;
        let images = || index.manifests().iter().filter(|image| is_image(image));
        // The first that fits (image-spec, "Image Index"), and before that one that asks for no newer processor.
        let mut fitting = images().filter(|image| is_for_here(image));
        let first = fitting.clone().find(|image| is_baseline(image)).or_else(|| fitting.next());
        let Some(next) = first else {
            return Err(unfit(layout, images().map(platform).collect()));
        };
        image = next.clone();
    }
    Ok(image)
}

fn unfit(layout: &Layout, found: Vec<String>) -> ImageError {
    ImageError::Platform { image: layout.path.clone(), wanted: here(), found }
}

fn is_index(media_type: &MediaType) -> bool {
    *media_type == MediaType::ImageIndex || media_type.as_ref() == DOCKER_LIST
}

/// False for what else an index may name: signatures, attestations, artifacts.
fn is_image(descriptor: &Descriptor) -> bool {
    let media_type = descriptor.media_type();
    let is_manifest = *media_type == MediaType::ImageManifest || media_type.as_ref() == DOCKER_MANIFEST;
    (is_manifest || is_index(media_type))
        && descriptor.artifact_type().is_none()
        && platform(descriptor) != "unknown/unknown"
}

fn tag_of(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotations().as_ref()?.get(ANNOTATION_REF_NAME).map(String::as_str)
}

/// True when a descriptor names this machine's platform, or none.
fn is_for_here(descriptor: &Descriptor) -> bool {
    descriptor.platform().is_none() || platform(descriptor) == here()
}

fn is_baseline(descriptor: &Descriptor) -> bool {
    let variant = descriptor.platform().as_ref().and_then(|platform| platform.variant().as_deref());
    matches!(variant, None | Some("" | "v1"))
}

/// `os/architecture` of a descriptor.
fn platform(descriptor: &Descriptor) -> String {
    let platform = descriptor.platform().as_ref();
    platform
        .map_or_else(|| "any".to_owned(), |platform| format!("{}/{}", platform.os(), platform.architecture()))
}

/// `os/architecture` of this machine, in the words of Go.
pub(super) fn here() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{architecture}")
}
