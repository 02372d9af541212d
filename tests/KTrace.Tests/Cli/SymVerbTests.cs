using System.IO.Pipelines;
using System.Text;
using System.Text.Json;
using KTrace.Cli.Verbs;
using KTrace.Symbols.Elf;
using KTrace.Tests.Support;

namespace KTrace.Tests.Cli;

public sealed class SymVerbTests : IDisposable
{
    private readonly ScratchFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Text_shows_address_function_and_offset_and_line_inlined_calls_first()
    {
        var program = Compile("-gdwarf-5 -O2");
        var special = new ElfSymbolTable(ElfFile.Open(program)).Find("special").Single().Symbol;
        var (status, output, errors) = Run(["--vmlinux", program, $"{special.Value:x}"]);
        Assert.Equal((0, ""), (status, errors));
        var expected = PeerProgram.Run("addr2line", ["-afi", "-e", program, $"{special.Value:x}"]).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal((expected.Length - 1) / 2, lines.Length);
        Assert.StartsWith($"0x{special.Value:x16}  ", lines[0], StringComparison.Ordinal);
        Assert.Contains($"  special+0x0  {_folder.File("main.c")}:", lines[^1], StringComparison.Ordinal);
        Assert.All(lines[..^1], l => Assert.EndsWith("(inlined)", l, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("main", 0)]
    [InlineData("main+0x4", 4)]
    [InlineData("main+4", 4)]
    [InlineData("? main+0x4/0x100 [module]", 4)]
    [InlineData("main.c:main", 0)]
    public void A_symbol_with_an_offset_is_as_good_as_an_address(string question, int offset)
    {
        var program = Compile("-gdwarf-5 -O0");
        var address = new ElfSymbolTable(ElfFile.Open(program)).Find("main").Single().Symbol.Value + (ulong)offset;
        var (status, output, _) = Run(["--vmlinux=" + program, question]);
        Assert.Equal(0, status);
        Assert.StartsWith($"0x{address:x16}  main+0x{offset:x}  ", output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_name_of_several_functions_is_listed_and_told_apart_by_file_or_size()
    {
        var program = Compile("-gdwarf-5 -O0");
        var helpers = new ElfSymbolTable(ElfFile.Open(program)).Find("helper");
        var (status, _, errors) = Run(["--vmlinux", program, "helper"]);
        Assert.Equal(1, status);
        Assert.Contains("main.c:helper, other.c:helper", errors, StringComparison.Ordinal);
        (status, var output, _) = Run(["--vmlinux", program, "other.c:helper"]);
        Assert.Equal((0, $"0x{helpers[1].Symbol.Value:x16}"), (status, output[..18]));
        (status, output, _) = Run(["--vmlinux", program, $"helper+0x0/0x{helpers[1].Symbol.Size:x}"]);
        Assert.Equal((0, $"0x{helpers[1].Symbol.Value:x16}"), (status, output[..18]));
    }

    [Fact]
    public void An_unknown_name_gets_near_ones_and_the_others_are_still_answered_in_order()
    {
        var program = Compile("-gdwarf-5 -O0");
        var (status, output, errors) = Run(["--vmlinux", program, "main", "signatrue", "other", "main+x"]);
        Assert.Equal(1, status);
        Assert.Contains("signatrue: no such symbol; near: signature", errors, StringComparison.Ordinal);
        Assert.Equal(["main+0x0", "??", "other+0x0", "??"], output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.StartsWith("0x", StringComparison.Ordinal) ? l.Split("  ")[1] : l));
    }

    [Fact]
    public void An_address_outside_is_not_found_and_the_exit_status_says_so()
    {
        var program = Compile("-gdwarf-5 -O0");
        var (status, output, _) = Run(["--vmlinux", program, "1", "main"]);
        Assert.Equal((1, "0x0000000000000001  ??"), (status, output.Split('\n')[0]));
    }

    [Theory]
    [InlineData("text")]
    [InlineData("addr2line")]
    [InlineData("json")]
    public async Task Questions_on_standard_input_are_answered_before_it_ends(string format)
    {
        var program = Compile("-gdwarf-5 -O0");
        var (input, output) = (new Pipe(), new Pipe());
        var verb = Task.Run(() =>
        {
            using var to = output.Writer.AsStream();
            return SymVerb.Run(["--vmlinux", program, "--format", format], input.Reader.AsStream(), to, TextWriter.Null);
        });
        using var answers = new StreamReader(output.Reader.AsStream());
        foreach (var name in new[] { "main", "work", "other" })
        {
            // In two pieces, as a slow writer would.
            await input.Writer.WriteAsync(Encoding.UTF8.GetBytes(name[..2]));
            await Task.Delay(20);
            await input.Writer.WriteAsync(Encoding.UTF8.GetBytes(name[2..] + "\r\n"));
            var answer = "";
            for (var lines = format == "addr2line" ? 3 : 1; lines > 0; lines--)
            {
                answer += await answers.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(30));
            }

            Assert.Contains(name, answer, StringComparison.Ordinal);
        }

        await input.Writer.CompleteAsync();
        Assert.Equal(0, await verb.WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Null(await answers.ReadLineAsync());
    }

    [Fact]
    public void The_last_question_needs_no_newline_and_blank_lines_ask_nothing()
    {
        var program = Compile("-gdwarf-5 -O0");
        var (status, output, _) = Run(["--vmlinux", program], "\n  main \n\nwork");
        Assert.Equal((0, 2), (status, output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length));
    }

    [Fact]
    public void Json_is_one_object_a_line()
    {
        var program = Compile("-gdwarf-5 -O2");
        var (status, output, _) = Run(["--json", "-e", program, "special", "1"]);
        Assert.Equal(1, status);
        var lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonDocument.Parse(l).RootElement).ToArray();
        var frames = lines[0].GetProperty("frames").EnumerateArray().ToArray();
        Assert.Equal("special", frames[^1].GetProperty("function").GetString());
        Assert.Equal("0x0", frames[^1].GetProperty("offset").GetString());
        Assert.EndsWith("main.c", frames[^1].GetProperty("file").GetString(), StringComparison.Ordinal);
        Assert.All(frames[..^1], f => Assert.True(f.GetProperty("inline").GetBoolean()));
        Assert.Equal(JsonValueKind.Null, lines[1].GetProperty("frames")[0].GetProperty("function").ValueKind);
    }

    [Fact]
    public void A_modules_frames_carry_its_name()
    {
        var (status, output, _) = Run(["--vmlinux", StockKernel.DebugModule("e1000e"), "e1000e_open+0x10", "e1000_init_module"]);
        Assert.Equal(0, status);
        Assert.Contains("  e1000e_open+0x10 [e1000e]  drivers/net/ethernet/intel/e1000e/netdev.c:", output, StringComparison.Ordinal);
        Assert.Contains("[e1000e]  drivers/net/ethernet/intel/e1000e/netdev.c:", output.Split('\n')[1], StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_without_DWARF_is_answered_by_symbols_and_is_an_error()
    {
        var program = Compile("-g0 -O0");
        var (status, output, errors) = Run(["--vmlinux", program, "main"]);
        Assert.Equal(2, status);
        Assert.Contains("no DWARF: frames by symbol only", errors, StringComparison.Ordinal);
        Assert.EndsWith("  main+0x0\n", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("text file", "not an ELF file")]
    [InlineData("", "not an ELF file")]
    [InlineData("cut", "truncated")]
    [InlineData("big-endian", "big-endian")]
    [InlineData("missing", "missing")]
    public void A_file_that_cannot_be_read_is_an_error_of_one_line(string kind, string expected)
    {
        var path = _folder.File(kind == "missing" ? "missing" : "bad");
        var bytes = kind switch
        {
            "cut" => File.ReadAllBytes(Compile("-gdwarf-5 -O0"))[..5000],
            "big-endian" => [0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 2, 1, .. new byte[57]],
            _ => Encoding.UTF8.GetBytes(kind),
        };
        if (kind != "missing")
        {
            File.WriteAllBytes(path, bytes);
        }

        var (status, output, errors) = Run(["--vmlinux", path, "1"]);
        Assert.Equal((2, ""), (status, output));
        Assert.Contains(expected, errors, StringComparison.Ordinal);
        Assert.Single(errors.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [Theory]
    [InlineData("")]
    [InlineData("--vmlinux")]
    [InlineData("--vmlinux x --format yaml")]
    [InlineData("--vmlinux x --frobnicate")]
    public void Wrong_arguments_are_named(string arguments)
    {
        var (status, output, errors) = Run(arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal((2, ""), (status, output));
        Assert.StartsWith("ktrace sym: ", errors, StringComparison.Ordinal);
        Assert.Single(errors.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    private string Compile(string options) => CompiledProgram.Build(_folder, "gcc", options);

    private static (int Status, string Output, string Errors) Run(string[] arguments, string input = "")
    {
        using var output = new MemoryStream();
        using var errors = new StringWriter();
        var status = SymVerb.Run(arguments, new MemoryStream(Encoding.UTF8.GetBytes(input)), output, errors);
        return (status, Encoding.UTF8.GetString(output.ToArray()), errors.ToString());
    }
}
