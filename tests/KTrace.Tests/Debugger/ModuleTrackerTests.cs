using KTrace.Debugger.Memory;
using KTrace.Debugger.Modules;
using KTrace.Rsp;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger;

/// <summary>struct module of a guest that may hold anything, laid out as the stock kernel's types say.</summary>
public sealed class ModuleTrackerTests : IAsyncLifetime
{
    private const ulong Module = 0xffffffffc0300000, Text = 0xffffffffc0200000, Sections = 0xffff888001000000, Names = 0xffff888002000000;

    private static readonly Lazy<KernelImage> Image = new(() => KernelImage.Open(StockKernel.Vmlinux));
    private static readonly Lazy<ModuleLayout> Layout = new(() => ModuleLayout.Find(Image.Value.Layouts)!);

    private readonly MemoryStub _stub = new();
    private readonly ModuleFiles _files = new([StockKernel.Module("e1000e"), StockKernel.DebugModule("e1000e")]);
    private RspClient _client = null!;
    private ModuleTracker _tracker = null!;

    public async Task InitializeAsync()
    {
        _client = await _stub.ConnectAsync();
        _tracker = new ModuleTracker(new KernelMap(Image.Value, 0), new GuestMemory(_client, 8), _files);
    }

    public async Task DisposeAsync()
    {
        await _client.DisposeAsync();
        await _stub.DisposeAsync();
        _files.Dispose();
    }

    [Fact]
    public async Task A_module_is_named_by_its_files_at_the_sections_addresses()
    {
        Put("e1000e", [(".text", Text), (".init.text", Text + 0x40000), (".text.unlikely", Text + 0x30000)]);

        var loaded = await ReadAsync();

        Assert.Equal(("e1000e", Text), (loaded!.Module.Name, loaded.Module.TextBase));
        Assert.Empty(loaded.Warnings);
        var open = Assert.Single(loaded.Module.Symbols!.Find("e1000e_open"));
        Assert.Equal("e1000e_open", loaded.Module.Symbolizer!.Symbolize(open.Symbol.Value)[^1].Function);
        Assert.InRange(open.Symbol.Value, Text, Text + 0x30000);
    }

    [Fact]
    public async Task A_file_of_another_build_is_not_used()
    {
        Put("e1000e", [(".text", Text), (".note.gnu.build-id", Text + 0x50000)]);
        _stub.Put(Text + 0x50000, [4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, (byte)'G', (byte)'N', (byte)'U', 0, .. Enumerable.Repeat((byte)0xab, 20)]);

        var loaded = await ReadAsync();

        Assert.Null(loaded!.Module.Symbols);
        Assert.Contains(loaded.Warnings, w => w.Contains("is of another build", StringComparison.Ordinal) && w.Contains("abababab", StringComparison.Ordinal));
        Assert.Equal(Text, loaded.Module.TextBase);
    }

    [Fact]
    public async Task A_module_without_a_file_is_known_by_its_place_only()
    {
        Put("my_own", [(".text", Text)]);

        var loaded = await ReadAsync();

        Assert.Equal("my_own", loaded!.Module.Name);
        Assert.Contains("no .ko file of it is known", Assert.Single(loaded.Warnings));
    }

    [Fact]
    public async Task Nothing_readable_is_no_module() => Assert.Null(await ReadAsync());

    [Fact]
    public async Task A_name_of_control_characters_is_kept_as_it_is_and_harms_nothing()
    {
        Put("a\u001b[2J/../x", [(".text", Text)]);
        Assert.Equal("a\u001b[2J/../x", (await ReadAsync())!.Module.Name);
    }

    [Fact]
    public async Task A_list_of_sections_without_an_end_is_cut()
    {
        Put("e1000e", []);
        _stub.Put(Sections + (ulong)(Layout.Value.Attributes.Count ?? 0), BitConverter.GetBytes(uint.MaxValue));
        // Every pointer leads back into the list, and every name is readable: the guest would be read for ever.
        _stub.Everywhere = (address, length) => address >= Sections && address < Names ? Cycle(address, length) : null;

        var loaded = await ReadAsync();

        Assert.NotNull(loaded);
        Assert.InRange(_stub.Reads, 1, 4 * 512);
    }

    [Fact]
    public async Task Section_addresses_that_cannot_be_harm_nothing()
    {
        Put("e1000e", [(".text", Text), (".init.text", ulong.MaxValue - 3), (".text.unlikely", 0), (".orc_unwind", 1), (".orc_unwind_ip", ulong.MaxValue), (".data", 0x4141414141414141)]);

        var loaded = await ReadAsync();
        var map = new KernelMap(Image.Value, 0);
        map.Load(loaded!.Module);

        Assert.Equal("e1000e", loaded.Module.Name);
        Assert.NotEmpty(map.Symbolize(Text + 0x100));
        Assert.NotEmpty(map.Symbolize(ulong.MaxValue));
        Assert.NotEmpty(map.Symbolize(0));
        map.Load((await ReadAsync())!.Module);
    }

    [Fact]
    public async Task Any_bytes_in_struct_module_harm_nothing()
    {
        for (var seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            _stub.Everywhere = (_, length) =>
            {
                var bytes = new byte[length];
                random.NextBytes(bytes);
                return random.Next(4) == 0 ? null : bytes;
            };
            if (await ReadAsync() is { } loaded)
            {
                new KernelMap(Image.Value, 0).Load(loaded.Module);
            }
        }
    }

    private static byte[] Cycle(ulong address, int length)
    {
        var bytes = new byte[length];
        for (var i = 0; i < length; i++)
        {
            bytes[i] = (byte)(Sections >> (int)(8 * ((address + (ulong)i) % 8)));
        }

        return bytes;
    }

    private ValueTask<LoadedModule?> ReadAsync()
    {
        var registers = new RegisterSet(X86_64.Instance);
        registers[X86_64.Rdi] = Module;
        return _tracker.ReadAsync(registers, CancellationToken.None);
    }

    private void Put(string name, (string Name, ulong Address)[] sections)
    {
        var (layout, attributes) = (Layout.Value, Layout.Value.Attributes);
        _stub.PutText(Module + (ulong)layout.Name, name, layout.NameLength);
        _stub.PutWord(Module + (ulong)layout.TextBase, Text);
        if (layout.BuildId is { } buildId)
        {
            _stub.Put(Module + (ulong)buildId, ElfFile.Open(StockKernel.Module("e1000e")).BuildId.AsSpan());
        }

        _stub.PutWord(Module + (ulong)layout.SectionAttributes, Sections);
        _stub.Put(Sections + (ulong)(attributes.Count ?? 0), BitConverter.GetBytes(sections.Length));
        for (var i = 0; i < sections.Length; i++)
        {
            var entry = Sections + (ulong)attributes.First + ((ulong)i * (ulong)attributes.Stride);
            var text = Names + ((ulong)i * 256);
            _stub.PutText(text, sections[i].Name, 256);
            _stub.PutWord(entry + (ulong)attributes.NamePointer, text);
            _stub.PutWord(entry + (ulong)attributes.Address, sections[i].Address);
        }
    }
}
