//! `image`: a directory, or an OCI image layout. There are no registries.

use std::path::{Component, Path, PathBuf};

use super::ImageRef;
use super::error::Offences;

/// Reads a reference; relative paths start from `base`.
pub(super) fn read(image: Option<&str>, path: &str, base: &Path, offences: &mut Offences) -> ImageRef {
    let placeholder = ImageRef::Directory(PathBuf::new());
    let Some(image) = image.filter(|image| !image.is_empty()) else {
        offences.missing(path);
        return placeholder;
    };
    if image.contains('\0') {
        offences.check_no_nul(|| path.to_owned(), image);
        return placeholder;
    }
    if let Some(layout) = image.strip_prefix("oci:") {
        // As other tools have it: the path ends at the first colon, and the tag may hold more of them.
        let (layout, tag) = layout.split_once(':').map_or((layout, None), |(path, tag)| (path, Some(tag)));
        if layout.is_empty() || tag == Some("") {
            offences.invalid(path, format!("{image:?} is not of the form oci:PATH or oci:PATH:TAG"));
            return placeholder;
        }
        return ImageRef::Oci { path: absolute(base, layout), tag: tag.map(str::to_owned) };
    }
    let is_path =
        matches!(image, "." | "..") || ["/", "./", "../"].iter().any(|start| image.starts_with(start));
    if is_path {
        return ImageRef::Directory(absolute(base, image));
    }
    offences.unsupported(
        path,
        format!(
            "{image:?} would come from a registry; write the path of a root file system (/PATH, ./PATH, ../PATH), or \
             oci:PATH[:TAG] for an OCI image layout or its archive, which `skopeo copy docker://IMAGE oci:PATH:TAG` makes"
        ),
    );
    placeholder
}

/// A path below `base`, unless it is absolute; without `.`, and with `..`, which only the file system can resolve.
pub(super) fn absolute(base: &Path, path: &str) -> PathBuf {
    base.join(path).components().filter(|part| *part != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> Result<ImageRef, String> {
        let mut offences = Offences::default();
        let image = read(Some(text), "image", Path::new("/pods"), &mut offences);
        offences.list.first().map_or(Ok(image), |offence| Err(offence.to_string()))
    }

    #[test]
    fn directories_and_layouts_by_their_paths() {
        let directory = |path: &str| ImageRef::Directory(PathBuf::from(path));
        for (text, path) in [
            ("/srv/root", "/srv/root"),
            ("./root", "/pods/root"),
            ("./a/./b/", "/pods/a/b"),
            ("../root", "/pods/../root"),
            (".", "/pods"),
            ("/", "/"),
            ("/with:colon", "/with:colon"),
        ] {
            assert_eq!(image(text), Ok(directory(path)), "{text}");
        }
        let layout =
            |path: &str, tag: Option<&str>| ImageRef::Oci { path: path.into(), tag: tag.map(str::to_owned) };
        for (text, path, tag) in [
            ("oci:busybox", "/pods/busybox", None),
            ("oci:/images/b.tar", "/images/b.tar", None),
            ("oci:./b:latest", "/pods/b", Some("latest")),
            ("oci:b:docker.io/library/busybox:1", "/pods/b", Some("docker.io/library/busybox:1")),
        ] {
            assert_eq!(image(text), Ok(layout(path, tag)), "{text}");
        }
    }

    #[test]
    fn a_registry_is_no_source_and_the_message_says_what_is() {
        for text in ["nginx", "nginx:latest", "docker.io/library/nginx", "~/root", "docker://nginx", " /x"] {
            let error = image(text).unwrap_err();
            assert!(error.starts_with("image: not supported") && error.contains("oci:PATH[:TAG]"), "{error}");
        }
        for text in ["oci:", "oci::tag", "oci:path:"] {
            assert!(image(text).unwrap_err().contains("is not of the form"), "{text}");
        }
        assert!(image("/a\0b").unwrap_err().contains("NUL"));
    }
}
