using System.Globalization;
using System.Text;
using KTrace.Boot;
using KTrace.Boot.Images;

namespace KTrace.Tests.Boot;

public sealed class CpioFolderTests
{
    [Fact]
    public void Extracting_and_packing_again_gives_the_same_bytes()
    {
        using var folder = new TemporaryFolder();
        var archive = new CpioArchive();
        archive.AddDirectory("tmp", Convert.ToUInt32("1777", 8));
        archive.AddCharacterDevice("dev/console", 5, 1);
        archive.AddBlockDevice("dev/sda", 8, 0, Convert.ToUInt32("640", 8));
        archive.AddSpecial("run/pipe", CpioType.Fifo, Convert.ToUInt32("644", 8), 5, 6);
        archive.AddFile("bin/su", "#!"u8.ToArray(), Convert.ToUInt32("4755", 8));
        archive.AddFile("home/file", "mine"u8.ToArray(), Convert.ToUInt32("400", 8), 1000, 1000);
        archive.AddHardLink("home/again", "bin/su");
        archive.AddSymbolicLink("sh", "/bin/su");
        var before = CpioArchiveTests.Bytes(archive);
        File.WriteAllBytes(folder.File("a.cpio"), before);

        Assert.Equal(12, CpioFolder.Extract(folder.File("a.cpio"), folder.File("tree")));
        Assert.Equal("mine", File.ReadAllText(folder.File("tree/home/file")));
        Assert.Equal("#!", File.ReadAllText(folder.File("tree/home/again")));
        Assert.False(File.Exists(folder.File("tree/dev/console")));
        Assert.Equal(UnixFileMode.None, new FileInfo(folder.File("tree/bin/su")).UnixFileMode & UnixFileMode.SetUser);
        Assert.Equal(CpioArchiveTests.Hash(before),
            CpioArchiveTests.Hash(CpioArchiveTests.Bytes(CpioFolder.Pack(folder.File("tree")))));
    }

    [Fact]
    public void A_changed_file_is_packed_as_it_is_now()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("a.cpio"), CpioArchiveTests.Bytes(CpioArchiveTests.Single("init", "old")));
        CpioFolder.Extract(folder.File("a.cpio"), folder.File("tree"));
        folder.Write("tree/init", "new init");
        folder.Write("tree/etc/motd", "hello");
        File.WriteAllBytes(folder.File("b.cpio"), CpioArchiveTests.Bytes(CpioFolder.Pack(folder.File("tree"))));
        Assert.Equal(["etc", "etc/motd", "init"], InitramfsFile.List(folder.File("b.cpio")).Entries.Select(entry => entry.Name));
        Assert.Equal(8u, InitramfsFile.List(folder.File("b.cpio")).Entries[2].Size);
    }

    [Theory]
    [InlineData("../outside")]
    [InlineData("a/../../outside")]
    public void An_entry_that_would_leave_the_folder_is_refused(string name)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("a.cpio"), Raw((name, 0x81a4, "evil")));
        Assert.Throws<BootException>(() => CpioFolder.Extract(folder.File("a.cpio"), folder.File("tree")));
        Assert.False(File.Exists(folder.File("outside")));
    }

    [Fact]
    public void An_absolute_name_is_taken_below_the_folder()
    {
        using var folder = new TemporaryFolder();
        var target = folder.File("elsewhere");
        File.WriteAllBytes(folder.File("a.cpio"), Raw((target, 0x81a4, "text")));
        CpioFolder.Extract(folder.File("a.cpio"), folder.File("tree"));
        Assert.False(File.Exists(target));
        Assert.Equal("text", File.ReadAllText(folder.File("tree" + target)));
    }

    [Theory]
    [InlineData("link/file")]
    [InlineData("link/deeper/file")]
    public void Nothing_is_written_through_a_symbolic_link_of_the_archive(string name)
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder.File("victim"));
        File.WriteAllBytes(folder.File("a.cpio"), Raw(("link", 0xa1ff, folder.File("victim")), (name, 0x81a4, "evil")));
        var error = Assert.Throws<BootException>(() => CpioFolder.Extract(folder.File("a.cpio"), folder.File("tree")));
        Assert.Contains("symbolic link", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder.File("victim")));
    }

    [Fact]
    public void A_file_replaces_a_symbolic_link_and_does_not_follow_it()
    {
        using var folder = new TemporaryFolder();
        folder.Write("victim", "intact");
        File.WriteAllBytes(folder.File("a.cpio"), Raw(("name", 0xa1ff, folder.File("victim")), ("name", 0x81a4, "evil")));
        CpioFolder.Extract(folder.File("a.cpio"), folder.File("tree"));
        Assert.Equal("intact", File.ReadAllText(folder.File("victim")));
        Assert.Equal("evil", File.ReadAllText(folder.File("tree/name")));
    }

    [Fact]
    public void A_link_to_a_folder_is_packed_as_a_link_and_not_entered()
    {
        using var folder = new TemporaryFolder();
        folder.Write("outside/secret", "secret");
        folder.Write("tree/file", "x");
        File.CreateSymbolicLink(folder.File("tree/out"), folder.File("outside"));
        File.WriteAllBytes(folder.File("a.cpio"), CpioArchiveTests.Bytes(CpioFolder.Pack(folder.File("tree"))));
        Assert.Equal(["file", "out"], InitramfsFile.List(folder.File("a.cpio")).Entries.Select(entry => entry.Name));
    }

    [Fact]
    public void A_folder_that_is_not_empty_is_left_alone()
    {
        using var folder = new TemporaryFolder();
        folder.Write("tree/mine", "x");
        File.WriteAllBytes(folder.File("a.cpio"), Raw(("mine", 0x81a4, "evil")));
        Assert.Throws<BootException>(() => CpioFolder.Extract(folder.File("a.cpio"), folder.File("tree")));
        Assert.Equal("x", File.ReadAllText(folder.File("tree/mine")));
    }

    /// <summary>An archive that our own writer would refuse to make.</summary>
    private static byte[] Raw(params (string Name, uint Mode, string Data)[] entries)
    {
        var bytes = new List<byte>();
        foreach (var (name, mode, data) in entries.Append(("TRAILER!!!", 0u, "")))
        {
            var header = string.Create(
                CultureInfo.InvariantCulture,
                $"070701{1:X8}{mode:X8}{0:X8}{0:X8}{1:X8}{0:X8}{data.Length:X8}"
                + $"{0:X8}{0:X8}{0:X8}{0:X8}{name.Length + 1:X8}{0:X8}");
            bytes.AddRange(Encoding.ASCII.GetBytes(header + name + "\0"));
            Pad();
            bytes.AddRange(Encoding.ASCII.GetBytes(data));
            Pad();
        }

        return [.. bytes];

        void Pad() => bytes.AddRange(new byte[(4 - (bytes.Count % 4)) % 4]);
    }
}
