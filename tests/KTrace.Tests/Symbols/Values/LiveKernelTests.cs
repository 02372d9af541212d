using System.Globalization;
using System.Text;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.Cpus;
using KTrace.Debugger.Memory;
using KTrace.Debugger.Values;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tests.Boot;
using KTrace.Tests.Support;
using Xunit.Abstractions;

namespace KTrace.Tests.Symbols.Values;

/// <summary>Expressions over the stock kernel while it opens its network card, and what gdb says of the very same stop.</summary>
public sealed class LiveKernelTests(ITestOutputHelper output)
{
    private const string Task = "(*(struct task_struct **)((char *)&current_task + $gs_base))";

    // Ours, and gdb's where it needs other words.
    private static readonly (string Ours, string? Gdbs)[] AtRequest =
    [
        ("irq", null), ("irqflags", null), ("devname", null), ("handler", null), ("dev_id", null), ("*devname", null), ("devname[1]", null), ("irq + 1", null), ("irqflags & 0x80", null),
        ("$rdi", null), ("(int)$rdi", null), ("(char *)$r8", null), ("$pc", null), ("$sp", null), ("*(unsigned long *)$rsp", null),
        ("&init_task", null), ("init_task.comm", null), ("init_task.pid", null), ("jiffies_64", null), ("jiffies_64 % 1000", null), ("(unsigned int)jiffies", null), ("nr_irqs", null), ("nr_cpu_ids", null),
        ("current->comm", Task + "->comm"), ("current->pid", Task + "->pid"), ("current", Task), ("current->mm->mmap_base", Task + "->mm->mmap_base"),
        ("current->parent->comm", Task + "->parent->comm"), ("current->cred->uid.val", Task + "->cred->uid.val"), ("current->__state", Task + "->__state"),
        ("current->thread.sp", Task + "->thread.sp"), ("current->se.vruntime >> 10", Task + "->se.vruntime >> 10"), ("current->in_execve", Task + "->in_execve"), ("current->sched_reset_on_fork + 1", Task + "->sched_reset_on_fork + 1"),
        ("per_cpu(cpu_number, 0)", "*(int *)((char *)&cpu_number + __per_cpu_offset[0])"), ("cpu_number", "*(int *)((char *)&cpu_number + __per_cpu_offset[0])"),
        ("per_cpu(runqueues, 0).nr_running", "((struct rq *)((char *)&runqueues + __per_cpu_offset[0]))->nr_running"), ("this_cpu(runqueues).curr->comm", "((struct rq *)((char *)&runqueues + __per_cpu_offset[0]))->curr->comm"),
        ("&per_cpu(runqueues, 0)", "((struct rq *)((char *)&runqueues + __per_cpu_offset[0]))"), ("__per_cpu_offset[0]", null),
        ("sizeof(struct irq_desc)", null), ("sizeof(struct task_struct)", null), ("offsetof(struct task_struct, comm)", "(unsigned long)&((struct task_struct *)0)->comm"),
        ("container_of(&init_task.comm, struct task_struct, comm) == &init_task", "1"), ("init_uts_ns.name.release", null), ("init_uts_ns.name.sysname[0]", null),
        ("((struct net_device *)dev_id)->name", null), ("((struct net_device *)dev_id)->mtu", null), ("((struct net_device *)dev_id)->dev_addr[0]", null), ("((struct net_device *)dev_id)->perm_addr[5]", null),
        ("((struct net_device *)dev_id)->netdev_ops->ndo_open", null), ("((struct net_device *)dev_id)->dev.parent->kobj.name", null), ("((struct net_device *)dev_id)->flags", null),
        ("((struct net_device *)dev_id)->features >> 3", null), ("((struct net_device *)dev_id)->type == ARPHRD_ETHER_is_no_enumerator", null), ("((struct net_device *)dev_id)->reg_state == NETREG_REGISTERED", null),
        ("super_blocks.next", null), ("init_mm.pgd", null), ("vfs_caches_init", null), ("&vfs_caches_init", null), ("handler == 0", null), ("system_state", null), ("system_state == SYSTEM_RUNNING", null),
        ("boot_cpu_data.x86_model_id", null), ("boot_cpu_data.x86", null), ("_totalram_pages.counter", null), ("saved_command_line", null), ("console_drivers->name", null),
        ("panic_timeout", null), ("no_such_thing", null), ("current->nothing", Task + "->nothing"), ("init_task.tasks.next != &init_task.tasks", null), ("((struct list_head *)0)->next", null),
    ];

    private static readonly (string Ours, string? Gdbs)[] AtMessage =
    [
        ("data", null), ("msg", null), ("*msg", null), ("msg->address_lo", null), ("msg->data", null), ("data->irq", null), ("data->hwirq", null), ("data->chip->name", null), ("data->chip", null),
        ("data->chip->irq_compose_msi_msg", null), ("data->common->state_use_accessors", null), ("data->common->affinity[0].bits[0]", null), ("data->domain->name", null), ("data->parent_data->chip->name", null),
        ("&data->mask", null), ("data->mask | 1", null), ("data->common->msi_desc->affinity", null), ("data->common->msi_desc->dev->kobj.name", null), ("data->common->msi_desc->pci.msi_attrib.is_msix", null),
        ("(data->common->msi_desc->pci.msi_attrib.entry_nr + 1) * 2", null), ("data->common->msi_desc->msg.data", null), ("container_of(data, struct irq_desc, irq_data)->irq_common_data.handler_data", "((struct irq_desc *)((char *)data - (unsigned long)&((struct irq_desc *)0)->irq_data))->irq_common_data.handler_data"),
        ("current->comm", Task + "->comm"),
    ];

    [SkippableFact]
    public async Task Expressions_at_live_stops_give_what_gdb_gives()
    {
        Skip.IfNot(PeerProgram.IsInstalled("gdb"));
        using var cache = new TemporaryFolder();
        var boot = await PreparedBoot.PrepareAsync(DemoScenario(), new KernelStore(cache.Path));
        await using var qemu = await QemuProcess.StartAsync(boot.CommandLine);
        var image = KernelImage.Open(StockKernel.Vmlinux);
        var (differences, compared) = (new StringBuilder(), 0);
        RspEndpoint endpoint = RspEndpoint.Parse("unix:" + qemu.GdbSocket);
        var condition = Expression.Parse("current->comm =~ \"if*\" || current->comm == \"ip\" || devname =~ \"eth0*\"");
        await using (var target = await KernelTarget.BootAsync(endpoint, image, new RspClientOptions(), null, CancellationToken.None))
        {
            var types = new RememberedTypes(new KernelTypes(target.Map));
            await StopAsync(target, types, "request_threaded_irq", condition);
            var scope = await ScopeAsync(target, types, "request_threaded_irq");
            await CollectAsync(scope, AtRequest, folder: cache.Path);
            await PrintAsync(scope, "request_threaded_irq",
            [
                ("irq", @"^\d+$"), ("devname", "^\"eth0"), ("(struct net_device *)dev_id", "^0xffff[0-9a-f]+ \"eth0\"$"), ("current", "^0xffff[0-9a-f]+ \"\\w+\" pid \\d+$"), ("*current", @"^\{\.thread_info = \{.*…$"),
                ("&init_task", "^<init_task> \"swapper/0\" pid 0$"), ("init_task.flags", @"PF_IDLE\|PF_KTHREAD"), ("*(struct net_device *)dev_id", "^\\{\\.name = \"eth0\""), ("((struct net_device *)dev_id)->flags", @"IFF_BROADCAST\|IFF_MULTICAST"),
                ("((struct net_device *)dev_id)->dev.parent", "\"0000:00:0[0-9a-f].0\"$"), ("((struct net_device *)dev_id)->dev_addr", "^52:54:00:12:34:56$"), ("((struct net_device *)dev_id)->perm_addr", "^52:54:00:12:34:56$"),
                ("current->files->fdt->fd[0]", "\"console\"$"), ("init_task.tasks", "^list of more than 32, first 0x"), ("pci_root_buses", "^list of 1, first 0x"), ("iomem_resource", "IORESOURCE_MEM,"), ("*iomem_resource.child", "\\[0x1000-0x9fbff\\]"),
                ("init_task.cpus_mask", "^0$"), ("__cpu_online_mask", "^0$"), ("init_uts_ns", "\\.sysname = \"Linux\""), ("loopback_net_ops", @"\.init = <loopback_net_init>"), ("this_cpu(runqueues)", @"\.__lock = (un)?locked, \.nr_running = \d+"), ("(gfp_t)0xdc0", @"^0xdc0 GFP_KERNEL\|__GFP_ZERO$"),
            ]);
        }

        compared += Compare(qemu.GdbSocket, cache.Path, AtRequest, differences);
        output.WriteLine($"{compared} compared");
        Assert.True(differences.Length == 0, differences.ToString());

        await using (var target = await ReconnectAsync(endpoint, image))
        {
            var types = new RememberedTypes(new KernelTypes(target.Map));
            await StopAsync(target, types, "x86_vector_msi_compose_msg", null);
            var scope = await ScopeAsync(target, types, "x86_vector_msi_compose_msg");
            await CollectAsync(scope, AtMessage, folder: cache.Path);
            await PrintAsync(scope, "x86_vector_msi_compose_msg",
            [
                ("data", @"^0xffff[0-9a-f]+ irq \d+ ""APIC""$"), ("*data", @"\.chip = <lapic_controller> ""APIC"", \.domain = 0x[0-9a-f]+ ""VECTOR"""), ("*msg", @"^\{\.address_lo = "), ("*data->chip", @"\.irq_ack = <apic_ack_edge>"),
                ("*data->common", @"IRQD_SINGLE_TARGET.* \.affinity = 0x[0-9a-f]+ 0, "), ("data->common->msi_desc->dev", @"""0000:00:0[0-9a-f]\.0""$"),
            ]);
        }

        compared += Compare(qemu.GdbSocket, cache.Path, AtMessage, differences);
        output.WriteLine($"{compared} compared");
        Assert.True(differences.Length == 0, differences.ToString());
        Assert.True(compared > 75, $"{compared} compared");
    }

    private readonly List<string> _ours = [];

    private static Scenario DemoScenario() => ScenarioReader.ReadFile(Path.Combine(Repository.Root, "scenarios", "e1000e-msix.yaml")) with
    {
        Kernel = new KernelChoice
        {
            Image = StockKernel.Vmlinuz,
            Vmlinux = StockKernel.Vmlinux,
            Modules = Path.Combine(StockKernel.Root, "lib/modules", StockKernel.Release),
            DebugModules = Path.Combine(StockKernel.Root, "usr/lib/debug/lib/modules", StockKernel.Release),
        },
    };

    /// <summary>The kernel is up already: without KASLR it lies where it was linked.</summary>
    private static async Task<LiveTarget> ReconnectAsync(RspEndpoint endpoint, KernelImage image) =>
        new(await RspClient.ConnectAsync(endpoint, new RspClientOptions()), new KernelMap(image, 0));

    private static Task StopAsync(KernelTarget target, ITypeSource types, string function, Expression? condition) =>
        StopAsync(new LiveTarget(target.Client, target.Map), types, function, condition);

    private static Task<LiveScope> ScopeAsync(KernelTarget target, ITypeSource types, string function) => ScopeAsync(new LiveTarget(target.Client, target.Map), types, function);

    private static async Task StopAsync(LiveTarget target, ITypeSource types, string function, Expression? condition)
    {
        Assert.True(target.Map.Image.TryFindSymbol(function, out var symbol));
        var address = target.Map.ToRunTime(symbol.Value);
        while (true)
        {
            await target.Client.SendAsync(new InsertBreakpoint(BreakpointKind.Hardware, address));
            await target.Client.ContinueAsync();
            Assert.IsType<StopReply.Stopped>(await target.Client.WaitForStopAsync());
            await target.Client.SendAsync(new RemoveBreakpoint(BreakpointKind.Hardware, address));
            if (condition is null)
            {
                return;
            }

            var outcome = await (await ScopeAsync(target, types, function)).EvaluateConditionAsync(condition);
            if (Assert.IsType<ExpressionOutcome.Value>(outcome).IsTrue)
            {
                return;
            }

            await target.Client.StepAsync();
            await target.Client.WaitForStopAsync();
        }
    }

    /// <summary>At a function's first instruction its arguments are in the registers of the ABI.</summary>
    private static async Task<LiveScope> ScopeAsync(LiveTarget target, ITypeSource types, string function)
    {
        var block = new RegisterBlock(target.Client.Layout);
        await target.Client.ReadRegistersAsync(block);
        var registers = new RegisterBridge(target.Client.Layout, target.Map.Image.Architecture).ToRegisterSet(block);
        var type = Assert.IsType<FunctionType>(types.FindFunction(function)!.Type);
        var locals = type.Parameters.Select((p, i) => new FrameVariable(
            p.Name, p.Type, IsParameter: true, TypedValue.OfNumber(p.Type, registers[target.Map.Image.Architecture.ArgumentRegisters[i]], Provenance.Register)));
        return new LiveScope(target, types, registers, [.. locals]);
    }

    /// <summary>The product's own scope at a stop, with the locals that are given.</summary>
    private sealed class LiveScope
    {
        private readonly HitValues _values;

        public LiveScope(LiveTarget target, ITypeSource types, RegisterSet registers, FrameVariable[] locals)
        {
            var memory = new StopMemory(target.Client);
            var variables = new FrameVariables(target.Map);
            var scope = new StopScope(target.Map, types, memory, variables, TaskLocator.Find(target.Map));
            scope.EnterReturn(registers, 0, locals, null);
            _values = new HitValues(memory, scope, variables);
        }

        public ValueTask<ExpressionOutcome> EvaluateAsync(Expression expression) => _values.EvaluateAsync(expression, isCondition: false, default);

        public ValueTask<ExpressionOutcome> EvaluateConditionAsync(Expression expression) => _values.EvaluateAsync(expression, isCondition: true, default);

        public ValueTask<string> PrintAsync(NamedValue value, PrintOptions options) => _values.TextAsync(value, options, default);
    }

    private async Task CollectAsync(LiveScope scope, (string Ours, string? Gdbs)[] expressions, string folder)
    {
        _ours.Clear();
        foreach (var (text, _) in expressions)
        {
            var outcome = await scope.EvaluateAsync(Expression.Parse(text));
            _ours.Add(outcome is ExpressionOutcome.Value { Result: var value } ? await TextAsync(scope, value) : "!" + ((ExpressionOutcome.Failed)outcome).Message);
        }

        File.WriteAllLines(Path.Combine(folder, "expressions"), expressions.Select(e => e.Gdbs ?? e.Ours));
    }

    private static async Task<string> TextAsync(LiveScope scope, TypedValue value)
    {
        switch (value.Type.Resolved)
        {
            case ArrayType { Element.Resolved: IntegerType { IsText: true } } or PointerType { Target.Resolved: IntegerType { IsText: true } }:
                return await scope.PrintAsync(new NamedValue("", value), new PrintOptions { MaximumText = 1000, MaximumLength = 2000 });
            case StructType or ArrayType or FunctionType:
                return $"@{value.Address}";
            default:
                var number = value.Number!.Value;
                return value.Type.Resolved is IntegerType { IsSigned: true } or EnumType { IsSigned: true } ? number.ToString(CultureInfo.InvariantCulture) : ((ulong)number).ToString(CultureInfo.InvariantCulture);
        }
    }

    private async Task PrintAsync(LiveScope scope, string function, (string Text, string Pattern)[] expressions)
    {
        foreach (var (text, pattern) in expressions)
        {
            var outcome = await scope.EvaluateAsync(Expression.Parse(text));
            var printed = outcome is ExpressionOutcome.Value { Named: var value }
                ? await scope.PrintAsync(value with { Owner = value.Owner ?? function }, new PrintOptions { MaximumLength = 400 })
                : outcome.ToString();
            output.WriteLine($"{text} = {printed}");
            Assert.DoesNotContain("not fetched", printed);
            Assert.Matches(pattern, printed);
        }
    }

    private int Compare(string socket, string folder, (string Ours, string? Gdbs)[] expressions, StringBuilder differences)
    {
        File.WriteAllText(Path.Combine(folder, "ask.py"), """
            import gdb
            out = []
            for line in open('FOLDER/expressions'):
                try:
                    v = gdb.parse_and_eval(line.rstrip('\n'))
                    t = v.type.strip_typedefs()
                    is_text = t.code in (gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_PTR) and t.target().unqualified().strip_typedefs().name == 'char'
                    if is_text:
                        out.append('"' + v.string() + '"')
                    elif t.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION, gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_FUNC):
                        out.append('@%d' % int(v.address))
                    elif t.code == gdb.TYPE_CODE_PTR:
                        out.append('%d' % (int(v) & ((1 << 64) - 1)))
                    else:
                        out.append('%d' % int(v))
                except Exception as e:
                    out.append('!' + str(e).replace('\n', ' '))
            open('FOLDER/answers', 'w').write('\n'.join(out))
            """.Replace("FOLDER", folder, StringComparison.Ordinal));
        PeerProgram.Run("gdb", ["-nx", "-batch", "-ex", "set architecture i386:x86-64", "-ex", "target remote " + socket, "-ex", "source " + Path.Combine(folder, "ask.py"), "-ex", "disconnect", StockKernel.Vmlinux]);
        var theirs = File.ReadAllLines(Path.Combine(folder, "answers"));
        for (var i = 0; i < expressions.Length; i++)
        {
            // Numbers of registers are signed for gdb, and addresses for us.
            var equal = _ours[i] == theirs[i] || (_ours[i][0] == '!' && theirs[i][0] == '!')
                || (expressions[i].Ours[0] == '$' && long.TryParse(theirs[i], out var signed) && _ours[i] == ((ulong)signed).ToString(CultureInfo.InvariantCulture));
            if (!equal)
            {
                differences.AppendLine(CultureInfo.InvariantCulture, $"{expressions[i].Ours}: ours {_ours[i]}, gdb's {theirs[i]}");
            }
        }

        return expressions.Length;
    }

    private sealed record LiveTarget(RspClient Client, KernelMap Map) : IAsyncDisposable
    {
        public ValueTask DisposeAsync() => Client.DisposeAsync();
    }
}
