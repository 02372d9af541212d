using System.Diagnostics;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using KTrace.Boot;
using KTrace.Boot.Images;

namespace KTrace.Tests.Boot;

public sealed class CpioArchiveTests
{
    [Fact]
    public void A_small_archive_is_exactly_these_bytes()
    {
        var archive = new CpioArchive();
        archive.AddFile("init", "hi\n"u8.ToArray(), Convert.ToUInt32("755", 8));
        archive.AddCharacterDevice("dev/console", 5, 1);

        // Fields: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check.
        var expected =
            "070701" + "00000001" + "000041ED" + "00000000" + "00000000" + "00000002" + "00000000" + "00000000" + "00000000"
                + "00000000" + "00000000" + "00000000" + "00000004" + "00000000"
            + "dev\0\0\0"
            + "070701" + "00000002" + "00002180" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" + "00000000"
                + "00000000" + "00000005" + "00000001" + "0000000C" + "00000000"
            + "dev/console\0\0\0"
            + "070701" + "00000003" + "000081ED" + "00000000" + "00000000" + "00000001" + "00000000" + "00000003" + "00000000"
                + "00000000" + "00000000" + "00000000" + "00000005" + "00000000"
            + "init\0\0" + "hi\n\0"
            + "070701" + "00000000" + "00000000" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" + "00000000"
                + "00000000" + "00000000" + "00000000" + "0000000B" + "00000000"
            + "TRAILER!!!\0\0\0\0";
        var bytes = Bytes(archive);
        Assert.Equal(expected, Encoding.ASCII.GetString(bytes, 0, expected.Length));
        Assert.Equal(0, bytes.Length % 512);
        Assert.All(bytes[expected.Length..], value => Assert.Equal(0, value));
    }

    [Fact]
    public void The_order_of_adding_does_not_change_the_bytes()
    {
        var one = new CpioArchive();
        one.AddFile("a/b", "1"u8.ToArray());
        one.AddSymbolicLink("a/c", "b");
        one.AddDirectory("z");
        var other = new CpioArchive();
        other.AddDirectory("/z/");
        other.AddSymbolicLink("./a/c", "b");
        other.AddFile("//a//b", "1"u8.ToArray());
        Assert.Equal(Bytes(one), Bytes(other));
    }

    [Fact]
    public void Everything_that_is_written_is_read_back()
    {
        var archive = new CpioArchive();
        archive.AddDirectory("d", Convert.ToUInt32("1777", 8), 3, 4);
        archive.AddFile("d/f", new byte[] { 1, 2, 3, 4, 5 }, Convert.ToUInt32("4711", 8), 7, 8);
        archive.AddSymbolicLink("d/l", "../ziel ü");
        archive.AddBlockDevice("d/b", 8, 1);
        archive.AddSpecial("d/p", CpioType.Fifo, Convert.ToUInt32("600", 8));
        archive.AddHardLink("d/g", "d/f");
        var lines = new List<string>();
        var reader = new CpioReader(new MemoryStream(Bytes(archive)), "test");
        while (reader.Next() is { } entry)
        {
            lines.Add(entry.ToListLine());
        }

        Assert.Equal(
            [
                "drwxrwxrwt   2     3     4          0 1970-01-01 00:00 d",
                "brw-------   1     0     0       8, 1 1970-01-01 00:00 d/b",
                "-rws--x--x   2     7     8          0 1970-01-01 00:00 d/f",
                "-rws--x--x   2     7     8          5 1970-01-01 00:00 d/g",
                "lrwxrwxrwx   1     0     0         10 1970-01-01 00:00 d/l -> ../ziel ü",
                "prw-------   1     0     0          0 1970-01-01 00:00 d/p",
            ],
            lines);
    }

    [Theory]
    [InlineData("../x")]
    [InlineData("a/../../x")]
    [InlineData("")]
    [InlineData("/")]
    [InlineData("TRAILER!!!")]
    [InlineData("a\0b")]
    public void A_path_that_cannot_be_in_the_guest_is_refused(string path) =>
        Assert.Throws<BootException>(() => new CpioArchive().AddFile(path, ReadOnlyMemory<byte>.Empty));

    [Fact]
    public void A_file_cannot_be_a_folder_and_two_entries_cannot_have_one_path()
    {
        var archive = new CpioArchive();
        archive.AddFile("a", ReadOnlyMemory<byte>.Empty);
        Assert.Throws<BootException>(() => archive.AddFile("a/b", ReadOnlyMemory<byte>.Empty));
        Assert.Throws<BootException>(() => archive.AddDirectory("a"));
        Assert.Throws<BootException>(() => archive.AddHardLink("b", "nothing"));
    }

    [Fact]
    public void Busyboxs_cpio_reads_the_same_names_and_contents()
    {
        using var folder = new TemporaryFolder();
        var archive = new CpioArchive();
        archive.AddFile("one/file", "contents\n"u8.ToArray());
        archive.AddHardLink("one/same", "one/file");
        archive.AddSymbolicLink("two", "one/file");
        File.WriteAllBytes(folder.File("a.cpio"), Bytes(archive));
        // busybox lists a hard-linked file once, with the name that has the data.
        Assert.Equal("one\none/same\ntwo\n", Run(folder.Path, "busybox", "cpio", "-t", "-F", "a.cpio"));
        Run(folder.Path, "busybox", "cpio", "-i", "-F", "a.cpio");
        Assert.Equal("contents\n", File.ReadAllText(folder.File("one/file")));
        Assert.Equal("contents\n", File.ReadAllText(folder.File("one/same")));
        Assert.Equal("one/file", new FileInfo(folder.File("two")).LinkTarget);
    }

    [Fact]
    public void What_busyboxs_cpio_packs_is_read()
    {
        using var folder = new TemporaryFolder();
        folder.Write("in/sub/file", "text");
        File.CreateSymbolicLink(folder.File("in/link"), "sub/file");
        Run(folder.Path, "sh", "-c", "cd in && find . | sort | busybox cpio -o -H newc > ../a.cpio");
        var (entries, parts) = InitramfsFile.List(folder.File("a.cpio"));
        Assert.Equal([".", "link", "sub", "sub/file"], entries.Select(entry => entry.Name));
        Assert.Equal("sub/file", entries[1].LinkTarget);
        Assert.Equal("none", Assert.Single(parts).Compression);
    }

    [Fact]
    public void A_wrong_sum_in_an_archive_with_sums_is_found()
    {
        var plain = Bytes(Single("f", "abc"));
        // 070702: the last field is the sum of the data's bytes, 0x126 here.
        var good = Encoding.ASCII.GetBytes(Encoding.ASCII.GetString(plain).Replace("070701", "070702", StringComparison.Ordinal));
        "00000126"u8.CopyTo(good.AsSpan(102));
        var reader = new CpioReader(new MemoryStream(good), "good");
        Assert.NotNull(reader.Next());
        Assert.Null(reader.Next());
        "00000127"u8.CopyTo(good.AsSpan(102));
        var bad = new CpioReader(new MemoryStream(good), "bad");
        Assert.NotNull(bad.Next());
        Assert.Contains("sum", Assert.Throws<BootException>(bad.Next).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("xz")]
    [InlineData("zstd")]
    public void An_uncompressed_archive_before_a_compressed_one_is_read_as_the_kernel_reads_it(string compression)
    {
        using var folder = new TemporaryFolder();
        var early = Bytes(Single("kernel/x86/microcode/GenuineIntel.bin", "microcode"));
        File.WriteAllBytes(folder.File("main"), Bytes(Single("init", "#!/bin/sh")));
        Run(folder.Path, "sh", "-c",
            $"busybox {(compression == "gzip" ? "gzip -c" : "true")} main > main.gzip; {(compression == "gzip" ? "true" : compression + " -c main > main." + compression)}");
        File.WriteAllBytes(folder.File("initrd"),
            [.. early, .. new byte[512], .. File.ReadAllBytes(folder.File("main." + compression))]);
        var (entries, parts) = InitramfsFile.List(folder.File("initrd"));
        Assert.Equal(["kernel", "kernel/x86", "kernel/x86/microcode", "kernel/x86/microcode/GenuineIntel.bin", "init"],
            entries.Select(entry => entry.Name));
        Assert.Equal([0, 0, 0, 0, 1], entries.Select(entry => entry.Archive));
        Assert.Equal([new InitramfsPart(0, "none"), new InitramfsPart(early.Length + 512, compression)], parts);
    }

    [Fact]
    public void A_damaged_compressed_part_is_a_declared_error()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("main"), Bytes(Single("init", new string('x', 9000))));
        foreach (var compression in new[] { "xz", "zstd" })
        {
            Run(folder.Path, "sh", "-c", $"{compression} -c main | head -c 60 > short");
            Assert.Throws<BootException>(() => InitramfsFile.List(folder.File("short")));
        }
    }

    [Fact]
    public void Mutated_archives_give_only_declared_errors()
    {
        var archive = Single("some/folder/file", "contents of the file");
        archive.AddSymbolicLink("some/link", "folder/file");
        archive.AddHardLink("some/other", "some/folder/file");
        var good = Bytes(archive);
        using var zipped = new MemoryStream();
        using (var gzip = new GZipStream(zipped, CompressionLevel.Fastest, leaveOpen: true))
        {
            gzip.Write(good);
        }

        var random = new Random(20261120);
        var read = 0;
        for (var round = 0; round < 6000; round++)
        {
            var bytes = (round % 3 == 0 ? zipped.ToArray() : (byte[])good.Clone()).AsSpan(0).ToArray();
            for (var change = random.Next(1, 5); change > 0; change--)
            {
                var at = random.Next(bytes.Length);
                bytes[at] = random.Next(3) switch { 0 => (byte)random.Next(256), 1 => (byte)"0123456789abcdefF"[random.Next(17)],
                    _ => (byte)(bytes[at] ^ (1 << random.Next(8))) };
            }

            bytes = random.Next(4) == 0 ? bytes[..random.Next(bytes.Length)] : bytes;
            try
            {
                var buffer = new byte[256];
                InitramfsFile.Visit(
                    new MemoryStream(bytes), "mutated",
                    (entry, data) =>
                    {
                        read++;
                        _ = entry.ToListLine();
                        while (data.Read(buffer) > 0)
                        {
                        }
                    },
                    CancellationToken.None);
            }
            catch (Exception e) when (e is BootException or InvalidDataException)
            {
                // Visit(path) turns InvalidDataException, GZipStream's word for damage, into a BootException.
            }
        }

        Assert.True(read > 1000, "the mutations destroy everything: the test tests nothing");
    }

    internal static CpioArchive Single(string path, string contents)
    {
        var archive = new CpioArchive();
        archive.AddFile(path, Encoding.UTF8.GetBytes(contents));
        return archive;
    }

    internal static byte[] Bytes(CpioArchive archive)
    {
        var stream = new MemoryStream();
        archive.WriteTo(stream);
        return stream.ToArray();
    }

    internal static string Hash(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    internal static string Run(string folder, string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { WorkingDirectory = folder,
            RedirectStandardOutput = true, RedirectStandardError = true })!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? output : throw new InvalidOperationException($"{program}: {errors.Result}");
    }
}
