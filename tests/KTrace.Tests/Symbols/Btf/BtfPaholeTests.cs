using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Symbols.Btf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Types;
using KTrace.Tests.Support;
using KTrace.Tests.Symbols.Unwind;

namespace KTrace.Tests.Symbols.Btf;

/// <summary>Our layouts beside pahole's, which reads the same BTF with libbpf.</summary>
public partial class BtfPaholeTests
{
    private static readonly Lazy<BtfFile> Kernel = new(() => BtfFile.TryOpen(StockUnwind.Vmlinux)!);

    [Theory]
    [InlineData("task_struct", 200)]
    [InlineData("module", 50)]
    [InlineData("irq_desc", 25)]
    [InlineData("net_device", 150)]
    [InlineData("pci_dev", 100)]
    [InlineData("sk_buff", 60)]
    [InlineData("irq_data", 6)]
    [InlineData("msi_desc", 5)]
    public void Members_of_the_stock_kernel_lie_where_pahole_has_them(string name, int atLeast) =>
        Compare(new StructLayouts(new BtfTypes(Kernel.Value).FindType), ["-F", "btf", "-C", name, StockKernel.Vmlinux], name, atLeast);

    [Fact]
    public void Members_of_a_modules_split_btf_lie_where_pahole_has_them()
    {
        var path = StockKernel.Module("e1000e");
        var module = BtfFile.TryOpen(ElfFile.Open(path), Kernel.Value)!;
        Compare(new StructLayouts(new BtfTypes(module).FindType), ["-F", "btf", "--btf_base", StockKernel.Vmlinux, "-C", "e1000_adapter", path], "e1000_adapter", 60);
    }

    private static void Compare(StructLayouts layouts, string[] arguments, string name, int atLeast)
    {
        var start = new ProcessStartInfo("pahole", arguments) { RedirectStandardOutput = true };
        using var pahole = Process.Start(start)!;
        var text = pahole.StandardOutput.ReadToEnd();
        pahole.WaitForExit();
        var compared = 0;
        foreach (var (member, match) in Members(text))
        {
            Assert.True(layouts.TryFindMember(name, member, out var location), $"{name}.{member} is not there");
            var (offset, size) = (Number(match, "offset"), Number(match, "size"));
            if (match.Groups["bit"].Success)
            {
                Assert.True((location.ByteOffset * 8) + location.BitOffset == (offset * 8) + Number(match, "bit"), $"{name}.{member}: {location}, pahole has {match.Value}");
                Assert.Equal(Number(match, "bits"), location.BitSize);
            }
            else
            {
                Assert.True((location.ByteOffset, location.Size) == (offset, size), $"{name}.{member}: {location}, pahole has {match.Value}");
            }

            compared++;
        }

        Assert.True(compared >= atLeast, $"{compared} members of {name} compared");
        Assert.True(layouts.TryGetSize(name, out var whole));
        Assert.Contains($"/* size: {whole},", text);
    }

    /// <summary>Members with their paths: a block that ends in "} name;" puts its name before what stands in it.</summary>
    private static List<(string Path, Match Match)> Members(string text)
    {
        var members = new List<(string Path, Match Match)>();
        var open = new Stack<int>();
        foreach (var raw in text.Split('\n'))
        {
            var line = Attribute().Replace(raw, "");
            if (line.TrimEnd().EndsWith('{'))
            {
                open.Push(members.Count);
            }
            else if (line.TrimStart().StartsWith('}') && open.TryPop(out var first))
            {
                var name = BlockName().Match(line).Groups["name"].Value;
                for (var i = first; i < members.Count && name.Length > 0; i++)
                {
                    members[i] = (name + "." + members[i].Path, members[i].Match);
                }
            }
            else if (Member().Match(line) is { Success: true } match)
            {
                members.Add((match.Groups["name"].Value, match));
            }
        }

        return members;
    }

    private static int Number(Match match, string group) => int.Parse(match.Groups[group].Value, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^\t+[^\n/]*?\(?\*?(?<name>\w+)(\[\d*\])*\)?(\([^\n]*\))?(:(?<bits>\d+))?;\s*/\*\s*(?<offset>\d+)(: *(?<bit>\d+))?\s+(?<size>\d+)\s*\*/", RegexOptions.Multiline)]
    private static partial Regex Member();

    [GeneratedRegex(@"\s*__attribute__\(\(.*?\)\)\)?")]
    private static partial Regex Attribute();

    [GeneratedRegex(@"^\s*\}\s*(?<name>\w+)\s*;")]
    private static partial Regex BlockName();
}
