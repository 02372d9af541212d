using KTrace.Symbols.Kernel;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Kernel;

public sealed class KernelFinderTests : IDisposable
{
    private const string Release = "6.1.0-9-test";
    private static readonly byte[] Wanted = [.. Enumerable.Range(1, 20).Select(i => (byte)i)];
    private static readonly byte[] Other = [.. Enumerable.Range(101, 20).Select(i => (byte)i)];

    private readonly ScratchFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_file_with_the_build_id_is_found_among_others()
    {
        var first = Vmlinux("vmlinux-a", Other, Release);
        var second = Vmlinux("vmlinux-b", Wanted, Release);
        var search = new KernelFinder([_folder.File("missing"), first, second], []).Find(Wanted, Release);
        Assert.Equal((second, null), (search.Path, search.NearestMiss));
        Assert.Equal([first, second], search.Looked.ToArray());
        Assert.Equal($"found {second}", search.Words);
    }

    [Fact]
    public void Nothing_found_names_the_nearest_miss_and_what_was_looked_at()
    {
        var near = Vmlinux("near", Other, Release);
        var far = Vmlinux("far", Other, "5.10.0");
        var broken = _folder.File("broken");
        File.WriteAllText(broken, "no ELF file");
        var search = new KernelFinder([far, near, broken], []).Find(Wanted, Release);
        Assert.Null(search.Path);
        Assert.Equal([far, near], search.Looked.ToArray());
        Assert.Contains(broken, Assert.Single(search.Problems));
        Assert.Equal($"none of 2 places has it; nearest: {near} is {Release} too, but of build {Convert.ToHexStringLower(Other)}", search.Words);
        Assert.Null(new KernelFinder([far], []).Find(Wanted, Release).NearestMiss);
        Assert.Equal("there is no vmlinux on this machine", new KernelFinder([], []).Find(Wanted, Release).Words);
    }

    [Theory]
    [InlineData("01/02030405060708090a0b0c0d0e0f1011121314.debug")]
    [InlineData("0102030405060708090a0b0c0d0e0f1011121314/debuginfo")]
    public void Folders_by_build_id_are_asked_for_one_name_and_the_file_has_to_have_that_id(string name)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_folder.File(name))!);
        var path = Vmlinux(name, Other, Release);
        var finder = new KernelFinder([], [_folder.File("missing"), _folder.Path]);
        Assert.Null(finder.Find(Wanted, Release).Path);
        Vmlinux(name, Wanted, Release);
        Assert.Equal(path, finder.Find(Wanted, Release).Path);
    }

    [Fact]
    public void A_kernel_without_a_build_id_is_no_kernels_namesake() =>
        Assert.Null(new KernelFinder([Vmlinux("vmlinux", [], Release)], []).Find([], Release).Path);

    [Fact]
    public void The_stock_vmlinux_is_known_by_its_note_and_by_its_banner()
    {
        var image = KernelImage.Open(StockKernel.Vmlinux);
        var finder = new KernelFinder([StockKernel.Vmlinux], []);
        Assert.Equal(StockKernel.Vmlinux, finder.Find(image.BuildId.AsSpan(), image.Release).Path);
        Assert.Contains($"{StockKernel.Vmlinux} is {StockKernel.Release} too", finder.Find(Wanted, StockKernel.Release).NearestMiss);
    }

    private string Vmlinux(string name, byte[] buildId, string release)
    {
        var elf = new ElfBuilder();
        elf.AddCode(".text", 0xffffffff81000000, 16);
        elf.Add(".rodata", [.. "Linux version %s\0Linux version "u8, .. System.Text.Encoding.ASCII.GetBytes(release), .. " (somebody@somewhere) #1\n\0"u8], flags: ElfBuilder.Alloc, address: 0xffffffff82000000);
        if (buildId.Length > 0)
        {
            elf.Add(".notes", [4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, (byte)'G', (byte)'N', (byte)'U', 0, .. buildId], 7, ElfBuilder.Alloc, 0xffffffff82100000);
        }

        File.WriteAllBytes(_folder.File(name), elf.Build());
        return _folder.File(name);
    }
}
