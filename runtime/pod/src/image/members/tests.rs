//! Archives as programs write them, and as enemies do.

use tar::{Builder, EntryType, Header};

use super::*;
use crate::image::limits::Limits;

/// A header of a kind, with a name and a size.
fn header(kind: EntryType, name: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(1);
    header.set_gid(2);
    header.set_mtime(3);
    header.set_cksum();
    header
}

/// Blocks of an archive: headers and padded data.
fn archive(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(part);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes
}

fn read_all(bytes: &[u8]) -> Result<Vec<(Member, Vec<u8>)>, ArchiveError> {
    let mut members = Members::new(Stream(bytes));
    let mut budget = Budget::new(Limits { unpacked_bytes: 1 << 20, entries: 100, ..Limits::default() });
    let mut all = Vec::new();
    while let Some(member) = members.next(&mut budget)? {
        let (mut data, mut buffer) = (Vec::new(), [0; 100]);
        loop {
            match members.read(&mut buffer)? {
                0 => break,
                n => data.extend_from_slice(&buffer[..n]),
            }
        }
        all.push((member, data));
    }
    members.finish(&mut budget)?;
    Ok(all)
}

#[test]
fn members_follow_each_other() {
    let mut builder = Builder::new(Vec::new());
    let long = "d/".repeat(80) + "name";
    let mut file = header(EntryType::Regular, "", 5);
    builder.append_data(&mut file, &long, &b"hello"[..]).unwrap();
    let records = [("SCHILY.xattr.user.a", &b"x\ny"[..]), ("mtime", b"7.5"), ("uid", b"3000000")];
    builder.append_pax_extensions(records).unwrap();
    builder.append(&header(EntryType::Directory, "e/", 0), &[][..]).unwrap();
    let mut link = header(EntryType::Symlink, "", 0);
    builder.append_link(&mut link, "l", "/".to_owned() + &long).unwrap();
    let all = read_all(&builder.into_inner().unwrap()).unwrap();
    let [(file, data), (directory, _), (link, _)] = &all[..] else { panic!("{all:?}") };
    assert_eq!((file.name.as_slice(), data.as_slice()), (long.as_bytes(), &b"hello"[..]));
    assert_eq!((file.attributes.mode, file.attributes.uid, file.attributes.modified), (0o644, 1, (3, 0)));
    assert_eq!((directory.attributes.uid, directory.attributes.modified), (3_000_000, (7, 500_000_000)));
    assert_eq!(directory.attributes.xattrs, [(b"user.a".to_vec(), b"x\ny".to_vec())]);
    assert_eq!(link.kind, MemberKind::Symlink(format!("/{long}").into_bytes()));
}

#[test]
fn data_that_is_not_read_is_left_out() {
    let bytes = archive(&[
        header(EntryType::Regular, "a", 600).as_bytes(),
        &[1; 600],
        header(EntryType::XGlobalHeader, "g", 20).as_bytes(),
        b"20 comment=abcdefgh\n",
        header(EntryType::Regular, "b", 1).as_bytes(),
        b"2",
    ]);
    let mut members = Members::new(Stream(&bytes[..]));
    let mut budget = Budget::new(Limits::default());
    assert_eq!(members.next(&mut budget).unwrap().unwrap().name, b"a");
    assert_eq!(members.position(), 512);
    assert_eq!(members.next(&mut budget).unwrap().unwrap().name, b"b");
    assert_eq!(members.next(&mut budget).unwrap(), None);
}

#[test]
fn sparse_files_have_holes() {
    let mut sparse = header(EntryType::GNUSparse, "s", 3);
    {
        let gnu = sparse.as_gnu_mut().unwrap();
        gnu.realsize.copy_from_slice(b"00000010000\0");
        gnu.sparse[0].offset.copy_from_slice(b"00000001000\0");
        gnu.sparse[0].numbytes.copy_from_slice(b"00000000002\0");
        gnu.isextended = [1];
    }
    sparse.set_cksum();
    let mut more = [0; 512];
    more[..12].copy_from_slice(b"00000002000\0");
    more[12..24].copy_from_slice(b"00000000001\0");
    let all = read_all(&archive(&[sparse.as_bytes(), &more, b"abc"])).unwrap();
    let [(member, data)] = &all[..] else { panic!("{all:?}") };
    assert_eq!(data, b"abc");
    let segments = vec![Segment { offset: 512, length: 2 }, Segment { offset: 1024, length: 1 }];
    assert_eq!(member.kind, MemberKind::File { size: 4096, segments });
    // A hole of 8 EiB costs nothing in the archive, and counts.
    sparse
        .as_gnu_mut()
        .unwrap()
        .realsize
        .copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255]);
    sparse.set_cksum();
    let error = read_all(&archive(&[sparse.as_bytes(), &more, b"abc"])).unwrap_err();
    assert_eq!(error.to_string(), "more than 1048576 bytes when unpacked, which is the limit");
}

#[test]
fn damaged_archives_are_refused_with_the_place() {
    let file = header(EntryType::Regular, "a", 600);
    let (cut, garbage) = (archive(&[file.as_bytes(), &[1; 600]]), [b'x'; 512]);
    let mut negative = file.clone();
    negative.as_old_mut().size = [0xff; 12];
    negative.set_cksum();
    let mut unknown = header(EntryType::Regular, "a", 0);
    unknown.as_old_mut().linkflag = *b"M";
    unknown.set_cksum();
    let mut no_device = header(EntryType::Char, "dev", 0);
    no_device.as_gnu_mut().unwrap().dev_major = *b"7777777\0";
    no_device.set_cksum();
    let cases: [(&[u8], &str); 10] = [
        (&cut[..100], "truncated: it ends at byte 100"),
        (&cut[..1000], "truncated: it ends at byte 1000"),
        (&cut[..1200], "truncated"),
        (&garbage, "the header at byte 0 is damaged: its checksum is wrong"),
        (&archive(&[negative.as_bytes()]), "size -1 is negative"),
        (&archive(&[unknown.as_bytes()]), "\"a\": entries of kind 'M' are not supported"),
        (&archive(&[no_device.as_bytes()]), "\"dev\": a device without a number"),
        (&archive(&[header(EntryType::XHeader, "x", 6).as_bytes(), b"6 abc\n"]), "a record without ="),
        (&archive(&[header(EntryType::GNULongName, "x", 3).as_bytes(), b"abc"]), "truncated"),
        (
            &archive(&[header(EntryType::GNULongName, "x", 2 << 20).as_bytes()]),
            "more than 1048576 bytes in an extended header",
        ),
    ];
    for (bytes, wanted) in cases {
        let error = read_all(bytes).unwrap_err().to_string();
        assert!(error.contains(wanted), "{wanted:?} is not in {error:?}");
    }
    let pax_sparse = archive(&[
        header(EntryType::XHeader, "x", 22).as_bytes(),
        b"22 GNU.sparse.major=1\n",
        header(EntryType::Regular, "s", 0).as_bytes(),
    ]);
    assert!(read_all(&pax_sparse).unwrap_err().to_string().contains("sparse file in the pax format"));
}

#[test]
fn names_in_messages_are_cut_and_escaped() {
    assert_eq!(shown(b"a\nb"), r#""a\nb""#);
    assert!(shown(&[b'x'; 10_000]).ends_with("... (10000 bytes)"));
}
