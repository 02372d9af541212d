using System.Buffers.Binary;
using System.Formats.Tar;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace KTrace.Tests.Boot;

/// <summary>Makes .deb files (deb(5): an ar archive of debian-binary, control.tar and data.tar) and the little ELF modules in them, also such as dpkg-deb would refuse to build.</summary>
internal static class DebBuilder
{
    public static byte[] Build(params (string Path, byte[] Contents)[] files)
    {
        var deb = new MemoryStream();
        deb.Write("!<arch>\n"u8);
        Member("debian-binary", "2.0\n"u8);
        Member("control.tar", Tar([("./control", "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"u8.ToArray())]));
        Member("data.tar", Tar(files));
        return deb.ToArray();

        void Member(string name, ReadOnlySpan<byte> contents)
        {
            var header = string.Create(CultureInfo.InvariantCulture, $"{name,-16}{0,-12}{0,-6}{0,-6}{"100644",-8}{contents.Length,-10}`\n");
            deb.Write(Encoding.ASCII.GetBytes(header));
            deb.Write(contents);
            if (contents.Length % 2 == 1)
            {
                deb.WriteByte((byte)'\n');
            }
        }
    }

    /// <summary>The smallest ELF file with a .modinfo section: header, the section, its name table, three section headers.</summary>
    public static byte[] Module(params string[] modinfo)
    {
        var notes = Encoding.ASCII.GetBytes(string.Concat(modinfo.Select(line => line + "\0")));
        var names = "\0.modinfo\0.shstrtab\0"u8.ToArray();
        var sections = 64 + notes.Length + names.Length;
        var file = new byte[sections + (3 * 64)];
        new byte[] { 0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1 }.CopyTo(file, 0);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(16), 1);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(18), 62);
        BinaryPrimitives.WriteInt64LittleEndian(file.AsSpan(40), sections);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(58), 64);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(60), 3);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(62), 2);
        notes.CopyTo(file, 64);
        names.CopyTo(file, 64 + notes.Length);
        Section(1, 1, 64, notes.Length);
        Section(2, 10, 64 + notes.Length, names.Length);
        return file;

        void Section(int index, uint name, long offset, long length)
        {
            var header = file.AsSpan(sections + (index * 64));
            BinaryPrimitives.WriteUInt32LittleEndian(header, name);
            BinaryPrimitives.WriteInt64LittleEndian(header[24..], offset);
            BinaryPrimitives.WriteInt64LittleEndian(header[32..], length);
        }
    }

    public static string Hash(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    private static byte[] Tar((string Path, byte[] Contents)[] files)
    {
        var stream = new MemoryStream();
        using (var tar = new TarWriter(stream, TarEntryFormat.Gnu, leaveOpen: true))
        {
            foreach (var (path, contents) in files)
            {
                var entry = contents.AsSpan().StartsWith("LINK "u8)
                    ? new GnuTarEntry(TarEntryType.SymbolicLink, path) { LinkName = Encoding.ASCII.GetString(contents.AsSpan(5)) }
                    : new GnuTarEntry(TarEntryType.RegularFile, path) { DataStream = new MemoryStream(contents) };
                entry.ModificationTime = new DateTimeOffset(2026, 11, 16, 10, 17, 0, TimeSpan.Zero);
                tar.WriteEntry(entry);
            }
        }

        return stream.ToArray();
    }
}
