// ktrace type: what a structure looks like, without a target and without waiting.
using System.CommandLine;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Tui.Views;

namespace KTrace.Cli.Verbs;

/// <summary><c>ktrace type [--vmlinux FILE] [--module FILE|NAME] NAME</c>. Exit: 0 found, 1 not found, 2 error.</summary>
internal static class TypeVerb
{
    public static Command Create()
    {
        var what = new Argument<string[]>("what") { HelpName = "NAME", Description = "A type ('struct irq_desc', u32, irq_handler_t), a variable (init_task, file.c:name), a function or an enumerator", Arity = ArgumentArity.OneOrMore };
        var vmlinux = new Option<string?>("--vmlinux") { HelpName = "FILE", Description = "Any ELF file with .BTF or DWARF (the stock kernel that was fetched)" };
        var module = new Option<string?>("--module") { HelpName = "FILE.ko|NAME", Description = "Look into this module too" };
        var json = new Option<bool>("--json") { Description = "One JSON object: name, size, members (name, type, offset, size, bit_offset, bit_size)" };
        var expand = new Option<bool>("--expand") { Description = "Write out structures that are members, too" };
        var from = new Option<string?>("--from") { HelpName = "btf|dwarf", Description = "Only this kind of debug information" };
        from.AcceptOnlyFromAmong("btf", "dwarf");
        var command = new Command(
            "type",
            """
            Print a type with offsets, sizes and holes, like pahole.

            Examples:
              ktrace type struct irq_desc
              ktrace type --vmlinux vmlinux --json 'struct task_struct'
              ktrace type --module e1000e 'struct e1000_adapter'

            exit status: 0 found, 1 there is no such type, 2 error
            """)
        {
            what, vmlinux, module, json, expand, from,
        };
        command.SetAction(result =>
        {
            var name = string.Join(' ', result.GetRequiredValue(what)).Trim();
            var types = Open(result.GetValue(vmlinux), result.GetValue(module), result.GetValue(from));
            return Answer(types, name, result.GetValue(json), result.GetValue(expand));
        });
        return command;
    }

    private static int Answer(ITypeSource types, string name, bool asJson, bool expand)
    {
        var (type, variable, error) = Find(types, name);
        if (type is null && variable is null)
        {
            CommandRunner.Fail(error);
            return CommandRunner.Different;
        }

        using var output = Console.OpenStandardOutput();
        if (asJson)
        {
            TypeJson.Write(output, type, variable);
        }
        else
        {
            output.Write(System.Text.Encoding.UTF8.GetBytes(type is not null ? TypeListing.Of(type, Clean, expand) : Describe(variable!)));
        }

        return CommandRunner.Success;
    }

    private static string Clean(string name) => TerminalText.Sanitize(name, limit: 4096);

    private static string Describe(Variable variable)
    {
        var size = variable.Type.Size > 0 ? $", size: {variable.Type.Size}" : "";
        var what = variable.Type is VoidType ? "type not known" + size : variable.IsPerCpu ? "per-cpu" + size : size.TrimStart(',', ' ');
        return $"{TypeListing.Declare(variable, Clean)};  /* 0x{variable.Address:x}{(what.Length > 0 ? ", " + what : "")} */\n";
    }

    /// <summary>
    /// A type, or else a variable, a function or an enumeration that has the name. A plain word is looked up in what is quick to ask before anything is searched.
    /// </summary>
    private static (CType? Type, Variable? Variable, string Error) Find(ITypeSource types, string name)
    {
        var isWord = name.Length > 0 && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '.' or ':' or '/' or '-' or '$');
        var isPlace = isWord && name.Contains(':', StringComparison.Ordinal);
        var error = $"there is no variable or function '{name}'";
        if (!isPlace && TypeNameParser.Parse(name, types, out error) is { } type)
        {
            return (type, null, "");
        }

        if (isWord && (types.FindVariable(name) ?? types.FindFunction(name)) is { } variable)
        {
            return (null, variable, "");
        }

        return isWord && !isPlace && types.FindEnumerator(name) is { } enumerator ? (enumerator.Type, null, "") : (null, null, error);
    }

    private static ITypeSource Open(string? vmlinux, string? module, string? from)
    {
        vmlinux ??= DefaultVmlinux();
        var useBtf = from != "dwarf";
        var kernelFile = ObjectFile.Open(vmlinux).File;
        var kernel = ObjectTypes.Open(kernelFile, useBtf: useBtf, useDwarf: from != "btf");
        if (module is null)
        {
            return kernel.HasBtf || kernel.HasDwarf
                ? kernel
                : throw new BootException(
                    $"{vmlinux} describes no types: it has neither .BTF nor DWARF", "give the vmlinux of the kernel's -dbg package or build tree (ktrace kernel fetch brings one)");
        }

        var files = File.Exists(module) ? [module] : FindModule(vmlinux, module);
        // The debug file has DWARF, the shipped one .BTF.
        var layers = files.Select(f => ObjectTypes.Open(ObjectFile.Open(f).File, kernel, useBtf, from != "btf")).Where(t => t.HasBtf || t.HasDwarf).ToList();
        if (layers.Count == 0)
        {
            throw new BootException($"{string.Join(", ", files)} describes no types: it has neither .BTF nor DWARF", "give the module's debug file");
        }

        return new LayeredTypes([.. layers, kernel]);
    }

    private static string DefaultVmlinux()
    {
        var store = new KernelStore();
        return store.Find(KernelStore.Stock)?.Vmlinux ?? store.List().LastOrDefault(k => k.Vmlinux is not null)?.Vmlinux
            ?? throw new BootException("no vmlinux is here", "ktrace kernel fetch, or --vmlinux FILE");
    }

    /// <summary>A module's files below the root that the vmlinux was unpacked into: usr/lib/debug/boot/vmlinux-RELEASE.</summary>
    private static List<string> FindModule(string vmlinux, string name)
    {
        var release = Path.GetFileName(vmlinux) is var file && file.StartsWith("vmlinux-", StringComparison.Ordinal) ? file["vmlinux-".Length..] : "";
        var boot = Path.GetDirectoryName(Path.GetFullPath(vmlinux))!;
        var found = new List<string>();
        if (release.Length > 0 && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-'))
        {
            var wanted = name.Replace('-', '_') + ".ko";
            foreach (var folder in (string[])[Path.Combine(boot, "../lib/modules", release), Path.Combine(boot, "../../../../lib/modules", release)])
            {
                if (Directory.Exists(folder)
                    && Directory.EnumerateFiles(folder, "*.ko", SearchOption.AllDirectories).FirstOrDefault(f => Path.GetFileName(f).Replace('-', '_') == wanted) is { } path)
                {
                    found.Add(Path.GetFullPath(path));
                }
            }
        }

        return found.Count > 0 ? found : throw new BootException($"no file of module {name} is near {vmlinux}", $"ktrace kernel fetch --module {name}, or --module FILE.ko");
    }
}
