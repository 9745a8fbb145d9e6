-- What every record begins with: the states and the pipeline of kernel versions.
select generation_start('Stock states and the kernel pipeline', 'pointsman');
insert into kernel_state (name, rank, moved_by) values
  ('seen', 10, 'policy'), ('fetched', 20, 'policy'), ('built', 30, 'policy'), ('tested', 40, 'policy'),
  ('ready-own', 50, 'person'), ('ready-customers', 60, 'person');
insert into cluster_type (name) values ('own'), ('customer');
insert into pipeline (name, kind) values ('kernels', 'kernel');
