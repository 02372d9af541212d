using KTrace.Debugger.Memory;
using KTrace.Debugger.Phases;
using KTrace.Rsp;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.Phases;

public sealed class SlideFinderTests : IAsyncLifetime
{
    private static readonly Lazy<KernelImage> Image = new(() => KernelImage.Open(StockKernel.Vmlinux));
    private static readonly byte[] Note = [4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, (byte)'G', (byte)'N', (byte)'U', 0];
    private static readonly byte[] Foreign = [.. Enumerable.Range(1, 20).Select(i => (byte)i)];

    private readonly MemoryStub _stub = new();
    private RspClient _client = null!;
    private SlideFinder _finder = null!;

    public async Task InitializeAsync()
    {
        _client = await _stub.ConnectAsync();
        _finder = new SlideFinder(Image.Value, new GuestMemory(_client, 8));
    }

    public async Task DisposeAsync()
    {
        await _client.DisposeAsync();
        await _stub.DisposeAsync();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2 << 20)]
    [InlineData(0x1e400000)]
    [InlineData((1 << 30) - (2 << 20))]
    public async Task The_slide_is_where_the_build_id_lies(int slide)
    {
        var (link, bytes) = Image.Value.Fingerprint;
        _stub.Put(link + (ulong)slide, bytes.AsSpan());
        Assert.Equal((ulong)slide, await _finder.FindAsync(CancellationToken.None));
    }

    [Fact]
    public async Task Nothing_and_something_else_are_no_slide()
    {
        Assert.Null(await _finder.FindAsync(CancellationToken.None));
        _stub.Put(Image.Value.Fingerprint.Address, Foreign);
        Assert.Null(await _finder.FindAsync(CancellationToken.None));
        Assert.Null(await _finder.FindForeignBuildIdAsync(CancellationToken.None));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0x3c000000)]
    public async Task Another_build_at_the_same_place_is_named(int slide)
    {
        _stub.Put(Image.Value.Fingerprint.Address - 16 + (ulong)slide, [.. Note, .. Foreign]);
        Assert.Equal(Convert.ToHexStringLower(Foreign), await _finder.FindForeignBuildIdAsync(CancellationToken.None));
    }

    [Fact]
    public async Task Another_build_somewhere_else_is_named_and_a_vdsos_note_is_not_taken_for_it()
    {
        var memory = new byte[2 << 20];
        "\u007fELF"u8.CopyTo(memory.AsSpan(0x3000));
        ((byte[])[.. Note, .. Enumerable.Repeat((byte)0xee, 20)]).CopyTo(memory, 0x3888);
        ((byte[])[.. Note, .. Foreign]).CopyTo(memory, 0x123454);
        var start = Image.Value.KernelMapBase + 0x1000000;
        _stub.Everywhere = (address, length) => address >= start && address - start + (ulong)length <= (ulong)memory.Length
            ? memory.AsSpan((int)(address - start), length).ToArray() : null;

        Assert.Equal(Convert.ToHexStringLower(Foreign), await _finder.FindForeignBuildIdAsync(CancellationToken.None));
    }
}
